"""The ledger, against a real PostgreSQL: weekly slots, so that none comes due in the middle of a test."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import settings
from oms_workers.configuration.cadence import Interval
from oms_workers.database import connection, connection_parameters, database_now, execute, rows
from oms_workers.scheduling import known_cadences, ledger, liveness, orphans, retention
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.decision import BACKOFF, MAX_ATTEMPTS, MAX_INTERRUPTIONS

TASK = "oms.tests.tasks.sweep"
WEEK = timedelta(weeks=1)
WEEKLY = Interval(int(WEEK.total_seconds()))
DEAD = "elsewhere/1/00000000"
PLAN = TaskPlan(TASK, WEEKLY, enabled=True, catch_up=8 * WEEK)


@pytest.fixture(autouse=True)
def no_grace(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 0)
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0)


@pytest.fixture
def worker() -> Iterator[str]:
    alive = liveness.Liveness(connection_parameters(settings.current())).start()
    yield alive.worker
    alive.stop()


def no_wait(seconds: float) -> None:
    """Whoever is dead now will not come back."""


def claim(worker: str, plan: TaskPlan = PLAN, **changes: Any) -> ledger.Attempt | None:
    return ledger.claim(plan, **{"trigger": "tick", "worker": worker, "wait": no_wait, **changes})


def known_for(weeks: int, plan: TaskPlan = PLAN) -> datetime:
    """Let the cadence be so many slots old, the newest of which is returned."""
    known_cadences.record([plan])
    newest = plan.cadence.latest(database_now())
    execute("UPDATE scheduled_tasks SET since = %s", (newest - (weeks - 1) * WEEK,))
    return newest


def a_row(slot: datetime, state: str, *, worker: str | None = None, **columns: Any) -> int:
    values = {
        "task": TASK,
        "slot": slot,
        "first_slot": slot,
        "state": state,
        "trigger": "periodiq",
        "attempts": 1,
        "started_at": slot,
        "worker": worker,
        **columns,
    }
    (inserted,) = rows(
        f"""
        INSERT INTO scheduled_runs ({", ".join(values)})
        VALUES ({", ".join(f"%({name})s" for name in values)})
        RETURNING id
        """,
        values,
    )
    return inserted.id


def table() -> list[tuple[Any, ...]]:
    """Each row of the ledger: slot, slots, state, reason, attempts."""
    return [
        tuple(row)
        for row in rows("SELECT slot, slots, state, reason, attempts FROM scheduled_runs ORDER BY slot, id")
    ]


def test_a_new_cadence_has_no_slots_yet(worker: str) -> None:
    assert claim(worker) is None
    assert table() == []


def test_the_newest_slot_runs_and_the_older_ones_are_one_row(worker: str) -> None:
    newest = known_for(5)

    attempt = claim(worker)

    assert attempt is not None
    assert (attempt.slot, attempt.attempts, attempt.worker) == (newest, 1, worker)
    assert table() == [
        (newest - WEEK, 4, "skipped", "coalesced", 0),
        (newest, 1, "running", None, 1),
    ]
    (coalesced,) = rows("SELECT first_slot, result FROM scheduled_runs WHERE reason = 'coalesced'")
    assert coalesced.first_slot == newest - 4 * WEEK
    assert coalesced.result["slots"] == 4


def test_what_lies_behind_a_row_is_accounted_for(worker: str) -> None:
    newest = known_for(5)
    a_row(newest - 3 * WEEK, "succeeded")

    claim(worker)

    assert [row[:4] for row in table()] == [
        (newest - 3 * WEEK, 1, "succeeded", None),
        (newest - WEEK, 2, "skipped", "coalesced"),
        (newest, 1, "running", None),
    ]


def test_slots_too_old_to_be_caught_up_with_are_one_stale_row(worker: str) -> None:
    plan = TaskPlan(TASK, WEEKLY, enabled=True, catch_up=timedelta(0))
    newest = known_for(3, plan)

    assert claim(worker, plan) is None
    assert claim(worker, plan) is None

    assert table() == [(newest, 3, "skipped", "stale", 0)]


def test_a_message_that_comes_twice_runs_once(worker: str) -> None:
    known_for(1)

    attempts = [claim(worker), claim(worker)]

    assert attempts[0] is not None
    assert attempts[1] is None
    assert len(table()) == 1


def test_a_slot_is_run_once_whoever_comes_at_the_same_time(worker: str) -> None:
    known_for(3)

    def claim_alone(_: int) -> ledger.Attempt | None:
        with connection():
            return claim(worker)

    with ThreadPoolExecutor(3) as pool:
        attempts = [*pool.map(claim_alone, range(60))]

    assert sum(attempt is not None for attempt in attempts) == 1
    assert [row[2] for row in table()] == ["skipped", "running"]


def test_a_disabled_task_is_accounted_for_and_replays_nothing_when_enabled(worker: str) -> None:
    off = TaskPlan(TASK, WEEKLY, enabled=False, catch_up=8 * WEEK)
    newest = known_for(2, off)

    assert claim(worker, off) is None
    known_cadences.record([PLAN])
    assert claim(worker) is None

    assert table() == [(newest, 2, "skipped", "disabled", 0)]


def test_a_process_that_still_thinks_it_enabled_runs_nothing_of_a_disabled_task(worker: str) -> None:
    known_for(1)
    known_cadences.record([TaskPlan(TASK, WEEKLY, enabled=False, catch_up=8 * WEEK)])

    assert claim(worker) is None
    assert [row[3] for row in table()] == ["disabled"]


def test_a_slot_whose_predecessor_still_runs_is_an_overlap(worker: str) -> None:
    newest = known_for(2)
    a_row(newest - WEEK, "running", worker=worker)

    assert claim(worker) is None

    assert [row[:4] for row in table()] == [
        (newest - WEEK, 1, "running", None),
        (newest, 1, "skipped", "overlap"),
    ]


def test_a_predecessor_whose_worker_is_dead_makes_no_overlap(
    worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = known_for(2)
    a_row(newest - WEEK, "running", worker=DEAD)
    # It dies between the look for the dead and the claim.
    monkeypatch.setattr(ledger, "close_orphans", lambda task, wait: 0)

    assert claim(worker) is None
    assert rows("SELECT state, reason FROM scheduled_runs") == [("running", None)]


def test_an_orphan_that_lives_again_is_not_closed(worker: str) -> None:
    newest = known_for(1)
    a_row(newest, "running", worker=worker)
    found = rows("SELECT id, task, slot, attempts, worker FROM scheduled_runs")

    assert orphans._close_orphan(found[0]) == 0
    assert rows("SELECT state FROM scheduled_runs") == [("running",)]


def test_enabling_again_replays_nothing_even_where_nobody_noted_the_slots(worker: str) -> None:
    off = TaskPlan(TASK, WEEKLY, enabled=False, catch_up=8 * WEEK)
    newest = known_for(5, off)

    known_cadences.record([PLAN])

    assert claim(worker) is None
    assert table() == [(newest, 5, "skipped", "disabled", 0)]


def test_slots_before_since_do_not_exist_behind_an_older_row_either(worker: str) -> None:
    newest = known_for(2)
    a_row(newest - 7 * WEEK, "succeeded")

    attempt = claim(worker)

    assert attempt is not None
    assert rows("SELECT first_slot, slots FROM scheduled_runs WHERE reason = 'coalesced'") == [
        (newest - WEEK, 1)
    ]


def test_the_run_at_work_is_the_last_one_and_not_the_overlaps_beside_it(worker: str) -> None:
    newest = known_for(3)
    a_row(newest - 2 * WEEK, "running", worker=worker)
    a_row(newest - WEEK, "skipped", reason="overlap")
    a_row(newest, "skipped", reason="overlap")
    assert ledger.last_run(TASK).slot == newest - 2 * WEEK

    execute("UPDATE scheduled_runs SET state = 'failed' WHERE state = 'running'")
    assert ledger.last_run(TASK).slot == newest - 2 * WEEK

    execute("UPDATE scheduled_runs SET reason = 'stale' WHERE slot = %s", (newest,))
    assert ledger.last_run(TASK).reason == "stale"


def test_a_manual_run_makes_a_slot_an_overlap(worker: str) -> None:
    newest = known_for(1)
    manual = ledger.claim_manually(TASK, worker=worker, wait=no_wait)

    assert manual is not None
    assert claim(worker) is None
    assert (newest, 1, "skipped", "overlap", 0) in table()


def test_a_dead_worker_s_slot_is_taken_over(worker: str) -> None:
    newest = known_for(1)
    a_row(newest, "running", worker=DEAD)

    attempt = claim(worker)

    assert attempt is not None
    assert attempt.attempts == 2
    assert table() == [(newest, 1, "running", None, 2)]


def test_a_dead_worker_s_older_slot_is_closed_and_the_newest_runs(worker: str) -> None:
    newest = known_for(2)
    a_row(newest - WEEK, "running", worker=DEAD)

    attempt = claim(worker)

    assert attempt is not None
    assert attempt.slot == newest
    assert [row[2] for row in table()] == ["failed", "running"]
    assert rows("SELECT error FROM scheduled_runs ORDER BY slot")[0].error == "worker died"


def test_a_living_worker_is_left_alone(worker: str) -> None:
    newest = known_for(1)
    a_row(newest, "running", worker=worker)

    assert orphans.close_orphans(None, no_wait) == 0
    assert claim("another/1/11111111") is None
    assert table() == [(newest, 1, "running", None, 1)]


def test_a_lock_that_comes_back_between_two_looks_is_no_death() -> None:
    newest = known_for(1)
    returning = liveness.Liveness(connection_parameters(settings.current()))
    a_row(newest, "running", worker=returning.worker)

    closed = orphans.close_orphans(None, lambda _: returning.start())

    returning.stop()
    assert closed == 0
    assert table() == [(newest, 1, "running", None, 1)]


def test_a_lock_that_is_lost_at_the_first_look_and_at_the_last_is_no_death(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0.5)
    newest = known_for(1)
    unlucky = liveness.Liveness(connection_parameters(settings.current()))
    a_row(newest, "running", worker=unlucky.worker)
    waited = 0.0

    def wait(seconds: float) -> None:
        nonlocal waited
        if waited == 0:
            unlucky.start()
        time.sleep(seconds)
        waited += seconds
        if waited >= 0.5:
            unlucky.stop()
            while liveness.living_workers():
                time.sleep(0.01)

    closed = orphans.close_orphans(None, wait)

    unlucky.stop()
    assert closed == 0


def test_nobody_is_dead_just_after_postgresql_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    a_row(known_for(1), "running", worker=DEAD)
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 10 * 365 * 86400)

    assert orphans.close_orphans(None, no_wait) == 0


def test_orphans_of_tasks_that_are_gone_are_closed_too() -> None:
    a_row(datetime(2026, 1, 1, tzinfo=UTC), "running", worker=DEAD, task="oms.tests.tasks.renamed_since")

    assert orphans.close_orphans(None, no_wait) == 1


def test_an_orphaned_manual_run_is_never_run_again(worker: str) -> None:
    newest = known_for(1)
    a_row(newest, "succeeded")
    a_row(newest + timedelta(seconds=1), "running", worker=DEAD, trigger="manual")

    assert claim(worker) is None
    assert ledger.is_due(PLAN) is None
    (manual,) = rows("SELECT state, next_attempt_at FROM scheduled_runs WHERE trigger = 'manual'")
    assert (manual.state, manual.next_attempt_at) == ("failed", None)


def test_a_failure_is_tried_again_after_its_pause_and_four_times_in_all(worker: str) -> None:
    newest = known_for(1)

    for attempts in range(1, MAX_ATTEMPTS + 1):
        attempt = claim(worker)
        assert attempt is not None, attempts
        assert attempt.attempts == attempts
        ledger.fail(attempt, "ValueError: no such luck")
        assert claim(worker) is None
        (failed,) = rows("SELECT next_attempt_at - finished_at AS pause FROM scheduled_runs")
        if attempts < MAX_ATTEMPTS:
            assert abs(failed.pause - BACKOFF[attempts - 1]) < timedelta(seconds=5)
            execute("UPDATE scheduled_runs SET next_attempt_at = now()")
            assert ledger.is_due(PLAN) == newest

    assert table() == [(newest, 1, "failed", None, MAX_ATTEMPTS)]
    assert ledger.is_due(PLAN) is None


def test_a_failure_is_not_tried_again_once_a_newer_slot_is_there(worker: str) -> None:
    newest = known_for(2)
    a_row(newest - WEEK, "failed", next_attempt_at=newest)

    attempt = claim(worker)

    assert attempt is not None
    assert attempt.slot == newest
    ledger.succeed(attempt, None)
    assert ledger.is_due(PLAN) is None


def interruptions() -> list[int]:
    return [row.interruptions for row in rows("SELECT interruptions FROM scheduled_runs ORDER BY slot, id")]


def test_a_run_is_not_given_up_because_another_task_kills_its_worker(worker: str) -> None:
    newest = known_for(1)
    a_row(newest, "running", worker=DEAD, attempts=MAX_ATTEMPTS, interruptions=MAX_ATTEMPTS - 1)

    attempt = claim(worker)

    assert attempt is not None
    assert (attempt.attempts, attempt.interruptions) == (MAX_ATTEMPTS + 1, MAX_ATTEMPTS)


def test_after_the_deaths_of_its_workers_a_run_has_all_its_own_attempts(worker: str) -> None:
    known_for(1)
    deaths = 3
    for _ in range(deaths):
        assert claim(DEAD) is not None

    for failures in range(1, MAX_ATTEMPTS + 1):
        attempt = claim(worker)
        assert attempt is not None, failures
        ledger.fail(attempt, "ValueError: no such luck")
        execute("UPDATE scheduled_runs SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL")

    assert claim(worker) is None
    assert [row[4] for row in table()] == [deaths + MAX_ATTEMPTS]
    assert interruptions() == [deaths]


def test_a_run_that_may_be_what_kills_its_workers_is_given_up_in_the_end(worker: str) -> None:
    newest = known_for(1)
    last = MAX_INTERRUPTIONS
    a_row(newest, "running", worker=DEAD, attempts=last, interruptions=last - 1)

    assert claim(worker) is None
    assert table() == [(newest, 1, "failed", None, last)]
    assert interruptions() == [last]
    assert ledger.is_due(PLAN) is None


def test_a_lost_answer_is_not_charged_to_the_run_either(worker: str) -> None:
    known_for(1)
    for _ in range(MAX_ATTEMPTS):
        assert claim(worker) is not None
        assert orphans.close_abandoned(TASK, worker, []) == 1

    assert claim(worker) is not None
    assert interruptions() == [MAX_ATTEMPTS]


def test_a_run_that_was_stopped_is_free_at_once_and_not_charged(worker: str) -> None:
    known_for(1)
    first = claim(worker)
    assert first is not None

    ledger.stop_early(first, "stopped at a batch's end", {"orders": 7})
    again = claim(worker)

    assert again is not None
    assert again.attempts == 1


def test_the_end_is_written_only_by_the_attempt_that_owns_the_row(worker: str) -> None:
    known_for(1)
    execute_as_dead = claim(DEAD)
    owner = claim(worker)
    assert execute_as_dead is not None
    assert owner is not None
    assert owner.attempts == 2

    assert not ledger.succeed(execute_as_dead, {"orders": 1})
    assert not ledger.fail(execute_as_dead, "too late")
    assert ledger.succeed(owner, {"orders": 2})
    assert not ledger.succeed(owner, {"orders": 3})
    (ended,) = rows("SELECT state, result FROM scheduled_runs")
    assert (ended.state, ended.result) == ("succeeded", {"orders": 2})


def test_a_release_that_is_repeated_does_not_end_the_run_after_it(worker: str) -> None:
    known_for(1)
    first = claim(worker)
    assert first is not None
    ledger.stop_early(first, "stopped", {})
    second = claim(worker)
    assert second is not None
    assert second.attempts == first.attempts

    assert not ledger.stop_early(first, "stopped, said once more", {})
    assert ledger.succeed(second, {})


def test_a_run_that_its_living_worker_knows_nothing_of_is_closed(worker: str) -> None:
    newest = known_for(1)
    lost = claim(worker)
    assert lost is not None

    assert orphans.close_abandoned(TASK, worker, [lost.id]) == 0
    assert orphans.close_abandoned(TASK, "another/1/11111111", []) == 0
    assert orphans.close_abandoned(TASK, worker, []) == 1

    assert ledger.is_due(PLAN) == newest
    assert claim(worker) is not None


def test_a_confirmation_that_is_cut_short_declares_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    a_row(known_for(1), "running", worker=DEAD)
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 10)

    assert orphans.close_orphans(None, no_wait) == 0


def test_a_release_that_may_be_refused_switches_nothing(worker: str) -> None:
    known_for(1)
    off = TaskPlan(TASK, WEEKLY, enabled=False, catch_up=WEEK)

    known_cadences.announce([off])

    assert claim(worker) is not None


def test_an_error_of_any_length_and_content_can_be_kept(worker: str) -> None:
    known_for(1)
    attempt = claim(worker)
    assert attempt is not None

    ledger.fail(attempt, "\0\ud83d" + "x" * 100_000)

    (failed,) = rows("SELECT error FROM scheduled_runs")
    assert len(failed.error) == ledger.MAX_ERROR_CHARACTERS


def test_while_another_run_lives_there_is_no_manual_one(worker: str) -> None:
    assert ledger.claim_manually(TASK, worker=worker, wait=no_wait) is not None
    assert ledger.claim_manually(TASK, worker=worker, wait=no_wait) is None


def test_a_dead_worker_s_run_does_not_stand_in_the_way_of_a_manual_one(worker: str) -> None:
    a_row(datetime(2026, 1, 1, tzinfo=UTC), "running", worker=DEAD)

    assert ledger.claim_manually(TASK, worker=worker, wait=no_wait) is not None


@pytest.mark.parametrize(("seconds", "runs"), [(4, True), (120, False)])
def test_a_clock_that_is_a_moment_ahead_of_postgresql_is_believed(
    worker: str, seconds: int, runs: bool
) -> None:
    now = database_now()
    period = 100_000
    plan = TaskPlan(
        TASK, Interval(period, offset=(int(now.timestamp()) + seconds) % period), enabled=True, catch_up=WEEK
    )
    known_cadences.record([plan])

    attempt = claim(worker, plan, message_slot=plan.cadence.next(now))

    assert (attempt is not None) is runs


def test_an_outage_of_everything_replaces_no_cadence(worker: str) -> None:
    newest = known_for(5)
    execute("UPDATE scheduled_tasks SET last_seen = now() - interval '5 hours'")

    known_cadences.record([PLAN])
    attempt = claim(worker)

    assert attempt is not None
    assert (attempt.slot, table()[0][:2]) == (newest, (newest - WEEK, 4))


def test_pruning_keeps_thirty_days_and_each_task_s_newest() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    boundary = now - retention.RETENTION
    hour = timedelta(hours=1)
    a_row(boundary - hour, "succeeded")
    to_be_kept = [
        a_row(boundary, "succeeded"),
        a_row(boundary + hour, "succeeded"),
        a_row(boundary - hour, "succeeded", task="a task that has not run since"),
        a_row(boundary - hour, "running", worker=DEAD, task="a run that nobody has closed"),
        a_row(boundary - hour, "succeeded", trigger="manual", task="a task run by hand only"),
    ]

    a_row(boundary - 2 * hour, "succeeded", trigger="manual", task="a task run by hand only")

    assert retention.prune(now) == 2
    assert [row.id for row in rows("SELECT id FROM scheduled_runs ORDER BY id")] == to_be_kept
