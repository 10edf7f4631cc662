"""The one decision, as a table: what a task's newest due slot deserves."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from oms_workers.configuration.cadence import Interval
from oms_workers.scheduling.decision import (
    BACKOFF,
    MAX_ATTEMPTS,
    MAX_INTERRUPTIONS,
    Decision,
    Verdict,
    decide,
    retry_at,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOURLY = Interval(3600)
CATCH_UP = timedelta(hours=6)
SECOND = timedelta(seconds=1)


class Row(NamedTuple):
    slot: datetime
    state: str
    attempts: int = 1
    next_attempt_at: datetime | None = None
    interruptions: int = 0


def decision(
    *,
    now: datetime = NOON,
    since: datetime = NOON - timedelta(days=1),
    enabled: bool = True,
    row: Row | None = None,
    catch_up: timedelta = CATCH_UP,
) -> Decision:
    return decide(HOURLY, since, enabled=enabled, row=row, now=now, catch_up=catch_up)


def test_a_slot_that_nothing_accounts_for_runs() -> None:
    assert decision() == Decision(Verdict.RUN, NOON)


@pytest.mark.parametrize(
    ("since", "verdict"),
    [
        (NOON - SECOND, Verdict.RUN),
        (NOON, Verdict.RUN),
        # The cadence began after its own last slot, which therefore does not exist.
        (NOON + SECOND, Verdict.NOTHING),
    ],
)
def test_slots_before_the_cadence_began_do_not_exist(since: datetime, verdict: Verdict) -> None:
    assert decision(now=NOON + SECOND, since=since).verdict is verdict


@pytest.mark.parametrize(
    ("late", "verdict"),
    [
        (timedelta(minutes=59), Verdict.RUN),
        (timedelta(minutes=30), Verdict.RUN),
        (timedelta(minutes=30) + SECOND, Verdict.RUN),
    ],
)
def test_a_slot_within_the_catch_up_runs(late: timedelta, verdict: Verdict) -> None:
    assert decision(now=NOON + late).verdict is verdict


@pytest.mark.parametrize(
    ("late", "verdict"),
    [
        (timedelta(minutes=30) - SECOND, Verdict.RUN),
        (timedelta(minutes=30), Verdict.RUN),
        (timedelta(minutes=30) + SECOND, Verdict.STALE),
    ],
)
def test_a_slot_older_than_the_catch_up_is_stale(late: timedelta, verdict: Verdict) -> None:
    assert decision(now=NOON + late, catch_up=timedelta(minutes=30)) == Decision(verdict, NOON)


def test_a_disabled_task_runs_nothing() -> None:
    assert decision(enabled=False) == Decision(Verdict.DISABLED, NOON)
    assert decision(enabled=False, row=Row(NOON, "failed", 1, NOON)).verdict is Verdict.NOTHING


@pytest.mark.parametrize("state", ["running", "succeeded", "skipped"])
def test_a_slot_that_is_accounted_for_needs_nothing(state: str) -> None:
    assert decision(row=Row(NOON, state)).verdict is Verdict.NOTHING


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row(NOON, "failed", 1, NOON + SECOND), Verdict.NOTHING),
        (Row(NOON, "failed", 1, NOON), Verdict.RUN),
        (Row(NOON, "failed", 1, NOON - SECOND), Verdict.RUN),
        (Row(NOON, "failed", MAX_ATTEMPTS - 1, NOON), Verdict.RUN),
        (Row(NOON, "failed", MAX_ATTEMPTS, NOON), Verdict.NOTHING),
        # What the run did not do itself is not charged, up to a bound of its own.
        (Row(NOON, "failed", MAX_ATTEMPTS, NOON, interruptions=1), Verdict.RUN),
        (Row(NOON, "failed", MAX_ATTEMPTS + 1, NOON, interruptions=1), Verdict.NOTHING),
        (Row(NOON, "failed", MAX_INTERRUPTIONS - 1, NOON, interruptions=MAX_INTERRUPTIONS - 1), Verdict.RUN),
        (Row(NOON, "failed", MAX_INTERRUPTIONS, NOON, interruptions=MAX_INTERRUPTIONS), Verdict.NOTHING),
        (Row(NOON, "failed", 1, None), Verdict.NOTHING),
        # A range of which this slot is one: it was skipped with the others.
        (Row(NOON + timedelta(hours=1), "failed", 1, NOON), Verdict.NOTHING),
    ],
)
def test_a_failed_slot_runs_again_when_its_time_has_come(row: Row, verdict: Verdict) -> None:
    assert decision(row=row).verdict is verdict


@pytest.mark.parametrize(
    ("late", "verdict"),
    [(timedelta(minutes=30), Verdict.RUN), (timedelta(minutes=30) + SECOND, Verdict.NOTHING)],
)
def test_a_failed_slot_that_is_stale_by_now_is_not_tried_again(late: timedelta, verdict: Verdict) -> None:
    failed = Row(NOON, "failed", 1, NOON)

    assert decision(now=NOON + late, row=failed, catch_up=timedelta(minutes=30)).verdict is verdict


def test_four_attempts_and_growing_pauses_between_them() -> None:
    assert [retry_at(attempts, NOON) for attempts in (1, 2, 3, 4)] == [
        *(NOON + pause for pause in BACKOFF),
        None,
    ]
    assert sorted(BACKOFF) == [*BACKOFF]


#: The tick looks half a minute after the full one.
TICK = Interval(60, offset=30)


@pytest.mark.parametrize(
    ("seconds", "sent_after"),
    [
        (0.05, timedelta(seconds=30)),
        (20, timedelta(seconds=30)),
        # A pause of ten seconds is the least, and the next tick looks a minute later.
        (20.05, timedelta(seconds=90)),
    ],
)
def test_a_first_failure_is_sent_again_by_the_tick_of_its_own_minute(
    seconds: float, sent_after: timedelta
) -> None:
    due = retry_at(1, NOON + timedelta(seconds=seconds))

    assert due is not None
    assert TICK.next(due - timedelta(microseconds=1)) - NOON == sent_after


@pytest.mark.parametrize(
    ("failures", "minutes"),
    [(2, 2), (3, 10)],
)
def test_a_failure_just_after_a_tick_is_due_in_time_for_the_tick_that_should_send_it(
    failures: int, minutes: int
) -> None:
    tick = NOON + timedelta(seconds=30)
    for late in (timedelta(seconds=0.05), timedelta(seconds=10)):
        due = retry_at(failures, tick + late)

        assert due is not None
        assert TICK.next(due - timedelta(microseconds=1)) == tick + timedelta(minutes=minutes)


def test_a_task_of_one_minute_has_each_early_failure_tried_again_before_its_next_slot() -> None:
    minutely = Interval(60)
    for milliseconds in range(0, 20_001, 250):
        failed_at = NOON + timedelta(milliseconds=milliseconds)
        due = retry_at(1, failed_at)
        assert due is not None
        tick = TICK.next(due - timedelta(microseconds=1))
        row = Row(NOON, "failed", 1, due)

        decided = decide(minutely, NOON, enabled=True, row=row, now=tick, catch_up=CATCH_UP)

        assert decided == Decision(Verdict.RUN, NOON), milliseconds
