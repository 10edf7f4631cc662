"""Runs whose worker is dead, or has abandoned them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

import settings
from oms_workers.database import connection_parameters, execute, rows
from oms_workers.scheduling import ledger, liveness, orphans
from tests.scheduling.weekly import DEAD, PLAN, TASK, WEEK, a_row, claim, known_for, no_wait, table

pytestmark = pytest.mark.usefixtures("no_grace")


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


def test_a_dead_worker_s_run_does_not_stand_in_the_way_of_a_manual_one(worker: str) -> None:
    a_row(datetime(2026, 1, 1, tzinfo=UTC), "running", worker=DEAD)

    assert ledger.claim_manually(TASK, worker=worker, wait=no_wait) is not None


def test_a_run_that_was_taken_over_between_two_looks_is_no_orphan() -> None:
    newest = known_for(1)
    a_row(newest, "running", worker=DEAD)

    def take_over(seconds: float) -> None:
        execute("UPDATE scheduled_runs SET attempts = attempts + 1")

    assert orphans.close_orphans(None, take_over) == 0
    assert [row[2] for row in table()] == ["running"]
