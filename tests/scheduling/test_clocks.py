"""PostgreSQL's clock jumps ahead and back: what is refused, what is found, and what is put right."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from peewee import Value

from oms_workers.configuration.cadence import Interval
from oms_workers.database import database_now, execute, rows
from oms_workers.scheduling import clocks, future, known_cadences, ledger, liveness, orphans, process, tick
from oms_workers.scheduling.clocks import ClocksDifferError
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.decision import BACKOFF
from oms_workers.scheduling.table import Task

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
WEEK = timedelta(weeks=1)


@pytest.fixture(autouse=True)
def said_nothing_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(clocks, "_differed", False)
    yield


def let_postgresql_be_ahead(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    monkeypatch.setattr(clocks, "own", lambda: datetime.now(UTC) - by)


def claim(plan: TaskPlan) -> ledger.Attempt | None:
    return ledger.claim(plan, trigger="tick", worker=process.worker(), wait=lambda _: None)


def a_row(task: Task, first: datetime, last: datetime, state: str, **columns: Any) -> None:
    values = {
        "task": task.path,
        "slot": last,
        "first_slot": first,
        "state": state,
        "trigger": "periodiq",
        "attempts": 1,
        **columns,
    }
    execute(
        f"""
        INSERT INTO scheduled_runs ({", ".join(values)})
        VALUES ({", ".join(f"%({name})s" for name in values)})
        """,
        values,
    )


def states() -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in rows("SELECT slot, slots, coalesce(reason, state) FROM scheduled_runs ORDER BY slot")
    ]


@pytest.mark.parametrize(
    ("difference", "differ"),
    [(clocks.MOST_DIFFERENCE, False), (clocks.MOST_DIFFERENCE + SECOND, True), (HOUR, True)],
)
def test_clocks_differ_by_more_than_a_minute_either_way(difference: timedelta, differ: bool) -> None:
    assert clocks.differ(NOON + difference, NOON) is differ
    assert clocks.differ(NOON - difference, NOON) is differ


def test_a_difference_is_said_once_and_its_end_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clocks, "own", lambda: NOON)

    with caplog.at_level(logging.WARNING):
        said = [clocks.agree(theirs) for theirs in (NOON, NOON + HOUR, NOON + HOUR, NOON, NOON)]

    assert said == [True, False, False, True, True]
    assert [(record.levelname, record.message.split(".")[0]) for record in caplog.records] == [
        ("ERROR", "PostgreSQL's clock is 3600 s ahead of this machine's"),
        ("WARNING", "PostgreSQL's clock and this process's agree again"),
    ]


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_nothing_is_claimed_while_the_clocks_differ(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    let_postgresql_be_ahead(monkeypatch, ahead)

    assert claim(task.plan) is None
    assert ledger.is_due(task.plan) is None
    with pytest.raises(ClocksDifferError, match="3600 s"):
        ledger.claim_manually(task.path, worker=process.worker(), wait=lambda _: None)
    assert states() == []

    monkeypatch.undo()
    assert ledger.is_due(task.plan) == slot
    assert claim(task.plan) is not None


def test_no_cadence_begins_while_the_clocks_differ(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_recorded", False)
    let_postgresql_be_ahead(monkeypatch, HOUR)

    process.record_cadences()
    assert known_cadences.find(task.plan) is None
    assert claim(task.plan) is None

    monkeypatch.setattr(clocks, "own", lambda: datetime.now(UTC))
    process.record_cadences()
    assert known_cadences.find(task.plan) is not None


def test_rows_in_the_future_are_put_right_and_their_slots_run(task: Task, slot: datetime) -> None:
    execute("UPDATE scheduled_tasks SET since = %s", (slot - WEEK,))
    a_row(task, slot - WEEK, slot - WEEK, "succeeded")
    # What a claim an hour ahead has left: a range over the present, and runs of slots that have not come.
    a_row(task, slot, slot + WEEK, "skipped", reason="coalesced", slots=2)
    a_row(task, slot + 2 * WEEK, slot + 2 * WEEK, "succeeded")
    assert ledger.is_due(task.plan) is None
    assert future.find_rows(database_now()) == [(task.path, 2, slot + 2 * WEEK)]

    future.put_right()

    assert future.find_rows(database_now()) == []
    assert ledger.is_due(task.plan) == slot
    assert claim(task.plan) is not None
    assert states() == [(slot - WEEK, 1, "succeeded"), (slot, 1, "running")]


def test_the_tick_puts_right_before_it_looks(
    task: Task, slot: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    a_row(task, slot, slot + WEEK, "skipped", reason="coalesced", slots=2)
    sent: list[datetime] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tick, "send", lambda task, slot, trigger: sent.append(slot))
        tick.tick()

    assert sent == [slot]
    assert "was written by a clock that was ahead; it is deleted" in caplog.text


def test_what_lies_in_the_future_by_a_wrong_clock_is_left_alone(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_row(task, slot + WEEK, slot + WEEK, "succeeded")
    # PostgreSQL's clock is behind, so that the rows of the last hour seem to lie ahead.
    let_postgresql_be_ahead(monkeypatch, -HOUR)

    future.put_right()

    assert states() == [(slot + WEEK, 1, "succeeded")]


def test_each_boundary_of_the_future_either_side(task: Task) -> None:
    boundary = database_now() + clocks.MOST_DIFFERENCE
    near, far = boundary - 10 * SECOND, boundary + 10 * SECOND
    a_row(task, near, near, "succeeded")
    a_row(task, far, far, "succeeded")
    a_row(task, far + SECOND, far + SECOND, "running", worker="elsewhere/1/00000000")
    a_row(task, far + 2 * SECOND, far + 2 * SECOND, "succeeded", trigger="manual")

    future.put_right()

    assert [state[0] for state in states()] == [near, far + SECOND, far + 2 * SECOND]


def test_a_cadence_that_counts_from_the_future_counts_from_now(task: Task, slot: datetime) -> None:
    execute(
        "UPDATE scheduled_tasks SET since = now() + interval '1 hour', last_seen = now() + interval '1 hour'"
    )
    assert [found.task for found in future.find_cadences(database_now())] == [task.path]

    future.put_right()

    known = known_cadences.find(task.plan)
    assert known is not None
    assert known.since <= known.now
    assert future.find_cadences(database_now()) == []
    last_seen = known_cadences.last_seen(task.path)
    assert last_seen is not None
    assert last_seen <= known.now


def test_a_retry_that_a_clock_ahead_has_put_off_is_due(task: Task, slot: datetime) -> None:
    a_row(task, slot, slot, "failed", next_attempt_at=database_now() + BACKOFF[-1])
    assert ledger.is_due(task.plan) is None

    execute("UPDATE scheduled_runs SET next_attempt_at = next_attempt_at + interval '1 hour'")

    assert ledger.is_due(task.plan) == slot


def test_nothing_is_forgotten_by_a_clock_that_is_ahead(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for weeks in (5, 6):
        a_row(task, slot - weeks * WEEK, slot - weeks * WEEK, "succeeded")
    let_postgresql_be_ahead(monkeypatch, 40 * timedelta(days=1))

    tick.forget()

    assert len(states()) == 2


def test_a_server_that_seems_to_have_started_in_the_future_has_no_grace_left(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0)
    # As if the clock had been set back since the start: the server's start and the grace are compared alone.
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 10 * 365 * 86400)
    monkeypatch.setattr(orphans, "_started_at", lambda: Value(database_now() + HOUR))
    a_row(task, slot, slot, "running", worker="elsewhere/1/00000000")

    assert orphans.close_orphans(None, lambda _: None) == 1


def test_a_period_of_a_second_goes_on_after_an_hour_of_the_wrong_time(db: None) -> None:
    plan = TaskPlan("oms.tests.tasks.first", Interval(1), enabled=True, catch_up=HOUR)
    known_cadences.record([plan])
    execute(
        """
        INSERT INTO scheduled_runs (task, slot, first_slot, slots, state, reason, trigger)
        SELECT task, date_trunc('second', now()) + interval '1 hour', date_trunc('second', now()), 3601,
               'skipped', 'coalesced', 'periodiq'
        FROM scheduled_tasks
        """
    )
    execute("UPDATE scheduled_tasks SET since = since - interval '10 seconds'")
    assert claim(plan) is None

    future.put_right()

    assert claim(plan) is not None
    process.stop_liveness()
