"""The ledger, against a real PostgreSQL: which slots run, and what the others become."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from oms_workers.configuration.cadence import Interval
from oms_workers.database import connection, database_now, execute, rows
from oms_workers.scheduling import known_cadences, ledger, retention
from oms_workers.scheduling.configurations import TaskPlan
from tests.scheduling.weekly import DEAD, PLAN, TASK, WEEK, WEEKLY, a_row, claim, known_for, no_wait, table

pytestmark = pytest.mark.usefixtures("no_grace")


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


def test_a_release_that_may_be_refused_switches_nothing(worker: str) -> None:
    known_for(1)
    off = TaskPlan(TASK, WEEKLY, enabled=False, catch_up=WEEK)

    known_cadences.announce([off])

    assert claim(worker) is not None


def test_while_another_run_lives_there_is_no_manual_one(worker: str) -> None:
    assert ledger.claim_manually(TASK, worker=worker, wait=no_wait) is not None
    assert ledger.claim_manually(TASK, worker=worker, wait=no_wait) is None


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
    boundary = now - retention.RUNS.age
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

    assert retention.prune(retention.RUNS, now) == 2
    assert [row.id for row in rows("SELECT id FROM scheduled_runs ORDER BY id")] == to_be_kept


def test_pruning_leaves_only_so_many_rows(db: None, configure: Callable[..., object]) -> None:
    now = database_now()
    configure(SCHEDULED_RUNS_MAX_ROWS=1_000)
    execute(
        """
        INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger)
        SELECT 'busy', slot, slot, 'succeeded', 'tick'
        FROM generate_series(now() - interval '1006 minutes', now() - interval '1 minute', '1 minute') AS slot
        """
    )
    execute("ANALYZE scheduled_runs")

    assert retention.prune(retention.RUNS, now) == 6
    (oldest,) = rows("SELECT now() - min(slot) AS age FROM scheduled_runs")
    assert oldest.age < timedelta(minutes=1001)


def test_a_worker_that_lives_is_not_forgotten(worker: str) -> None:
    execute("INSERT INTO workers (id, host, pid, started_at) VALUES (%s, 'h', 1, now())", (DEAD,))
    execute("UPDATE workers SET started_at = now() - interval '31 days'")

    assert retention.prune(retention.WORKERS, database_now()) == 1
    assert [row.id for row in rows("SELECT id FROM workers")] == [worker]
