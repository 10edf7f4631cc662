"""How a run ends, and how often it is tried again."""

from datetime import timedelta

import pytest

from oms_workers.database import execute, rows
from oms_workers.scheduling import ledger, orphans
from oms_workers.scheduling.decision import BACKOFF, MAX_ATTEMPTS, MAX_INTERRUPTIONS
from tests.scheduling.weekly import DEAD, PLAN, TASK, WEEK, a_row, claim, known_for, table

pytestmark = pytest.mark.usefixtures("no_grace")


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


def test_an_error_of_any_length_and_content_can_be_kept(worker: str) -> None:
    known_for(1)
    attempt = claim(worker)
    assert attempt is not None

    ledger.fail(attempt, "\0\ud83d" + "x" * 100_000)

    (failed,) = rows("SELECT error FROM scheduled_runs")
    assert len(failed.error) == ledger.MAX_ERROR_CHARACTERS
