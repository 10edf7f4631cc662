"""The scheduled actor, worked by Dramatiq from a real queue."""

import logging
import threading
from datetime import datetime
from typing import Any

import dramatiq
import pytest

from oms_workers.broker import current, stopping
from oms_workers.database import connection, execute, rows
from oms_workers.scheduling import actor, ledger, process
from oms_workers.scheduling.actor import AnotherRunLivesError, NoLivenessError, run_manually, send
from oms_workers.scheduling.at_work import AtWork
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task
from tests.scheduling import operations
from tests.scheduling.work import do, only_run, work_off


def test_a_due_slot_runs_once_with_its_kwargs_and_its_result_is_kept(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = do(monkeypatch, lambda run: {"archived": 7})

    send(task, slot, "periodiq")
    send(task, slot, "tick")
    work_off()

    assert calls == [{"older_than": 120}]
    run = only_run()
    assert (run.slot, run.state, run.result, run.attempts) == (slot, "succeeded", {"archived": 7}, 1)
    assert run.worker in [worker.id for worker in rows("SELECT id FROM workers")]


def test_a_failure_is_kept_with_its_error_and_not_tried_at_once(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: Run) -> None:
        raise ValueError("CRUNCHY-ARMCHAIR has no legs")

    calls = do(monkeypatch, fail)

    send(task, slot, "periodiq")
    work_off()
    send(task, slot, "tick")
    work_off()

    run = only_run()
    assert len(calls) == 1
    assert (run.state, run.error) == ("failed", "ValueError: CRUNCHY-ARMCHAIR has no legs")
    assert run.next_attempt_at > run.finished_at


def test_a_run_that_stops_early_is_sent_again_at_once_and_goes_on(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spend_the_budget_at_first(run: Run) -> dict[str, int]:
        if len(calls) == 1:
            run._deadline = 0
            assert run.should_stop()
        return {"batches": 1}

    calls = do(monkeypatch, spend_the_budget_at_first)

    send(task, slot, "periodiq")
    work_off()

    run = only_run()
    assert len(calls) == 2
    assert (run.state, run.attempts, run.trigger) == ("succeeded", 1, "periodiq")


def test_a_manual_run_is_recorded_beside_the_schedule(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    do(monkeypatch, lambda run: {"archived": 1})

    assert run_manually(task) == ("succeeded", {"archived": 1})

    run = only_run()
    assert (run.trigger, run.state, run.slot) == ("manual", "succeeded", run.started_at)


def test_a_message_sent_by_hand_is_a_manual_run(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = do(monkeypatch, lambda run: None)

    task.actor.send()
    work_off()

    assert len(calls) == 1
    assert only_run().trigger == "manual"


def test_two_manual_runs_at_once_are_refused(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_another(run: Run) -> None:
        with pytest.raises(AnotherRunLivesError, match="operation"):
            run_manually(task)

    do(monkeypatch, run_another)

    assert run_manually(task)[0] == "succeeded"


def test_a_manual_run_that_fails_says_why_and_is_not_tried_again(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> None:
        raise ValueError("no such shelf")

    do(monkeypatch, fail)

    with pytest.raises(ValueError, match="no such shelf"):
        run_manually(task)

    assert (only_run().state, only_run().next_attempt_at) == ("failed", None)


def test_the_start_says_how_late_it_is(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    do(monkeypatch, lambda run: None)

    with caplog.at_level(logging.INFO):
        send(task, slot, "periodiq")
        work_off()

    assert any(
        record.getMessage().startswith("operation started, ")
        and record.getMessage().endswith(f" s after its slot {slot.isoformat()}.")
        for record in caplog.records
    )


def test_a_run_stops_when_the_process_is_told_to(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(run: Run) -> dict[str, bool]:
        stopping.set()
        return {"stopped": run.should_stop(), "waited": run.wait(30)}

    do(monkeypatch, stop)

    end, result = run_manually(task)

    assert (end, result) == ("stopped", {"stopped": True, "waited": False})
    assert "told to stop" in only_run().error


def test_a_run_stops_when_its_process_has_lost_its_lock(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    do(monkeypatch, lambda run: {"stopped": run.should_stop()})
    monkeypatch.setattr(process, "lost", lambda: True)

    end, result = run_manually(task)

    assert (end, result) == ("stopped", {"stopped": True})
    assert "lost its liveness lock" in only_run().error


def test_without_its_lock_a_process_claims_nothing(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = do(monkeypatch, lambda run: None)
    monkeypatch.setattr(process, "holds_lock", lambda: False)

    with pytest.raises(NoLivenessError, match="liveness lock"):
        run_manually(task)

    assert calls == []
    assert rows("SELECT id FROM scheduled_runs") == []


def close_as_dead() -> None:
    """What another process does that takes this one for dead."""
    execute(
        "UPDATE scheduled_runs SET state = 'failed', error = 'worker died', next_attempt_at = now()"
        " WHERE state = 'running'"
    )


def test_a_run_that_was_taken_over_is_told_and_stops(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def be_taken_over(run: Run) -> dict[str, bool]:
        assert run.wait(0.01)
        close_as_dead()
        return {"went_on": run.wait(20)}

    do(monkeypatch, be_taken_over)

    assert run_manually(task) == ("stopped", {"went_on": False})
    assert only_run().error == "worker died"


def test_a_row_in_a_process_s_hands_is_not_claimed_again_by_itself(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, stopped = threading.Event(), threading.Event()

    def be_taken_over(run: Run) -> dict[str, int]:
        with connection():
            close_as_dead()
        send(task, slot, "tick")
        assert again.wait(10)
        while run.wait(0.01):
            pass
        stopped.set()
        return {}

    real = ledger.stop_early

    def stop_early(attempt: ledger.Attempt, why: str, *arguments: Any, **options: Any) -> bool:
        done = real(attempt, why, *arguments, **options)
        if why == actor.STILL_AT_WORK:
            again.set()
        return done

    monkeypatch.setattr(ledger, "stop_early", stop_early)
    # Told by the claim itself, and not by the liveness lock's thread.
    monkeypatch.setattr(AtWork, "keep", lambda self, held, own: None)
    calls = do(monkeypatch, be_taken_over)
    worker = dramatiq.Worker(current(), worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        send(task, slot, "tick")
        assert stopped.wait(20)
        monkeypatch.setattr(operations, "work", lambda run, **kwargs: {"second": 1})
        current().join("default", timeout=20_000)
        worker.join()
    finally:
        worker.stop()

    assert len(calls) == 1
    # The interrupted run has sent its slot again, and then nothing else was in this process's hands.
    assert (only_run().state, only_run().result, only_run().attempts) == ("succeeded", {"second": 1}, 2)
