"""The scheduled actor, worked by Dramatiq from a real queue."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware.threading import raise_thread_exception
from dramatiq.middleware.time_limit import TimeLimitExceeded
from peewee import OperationalError

import settings
from oms_workers.broker import Job, current, stopping
from oms_workers.database import connection, connection_parameters, database, execute, rows, transaction
from oms_workers.scheduling import actor, ledger, process
from oms_workers.scheduling.actor import AnotherRunLivesError, NoLivenessError, run_manually, send
from oms_workers.scheduling.at_work import AtWork
from oms_workers.scheduling.liveness import Liveness
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task
from tests.scheduling import operations


def work_off() -> None:
    """Let a worker take what is in the queue, and end."""
    worker = dramatiq.Worker(current(), worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        current().join("default", timeout=20_000)
        worker.join()
    finally:
        worker.stop()


def do(monkeypatch: pytest.MonkeyPatch, work: Any) -> list[dict[str, Any]]:
    """Let the operation do this; returns the kwargs of each call."""
    calls: list[dict[str, Any]] = []

    def called(run: Run, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return work(run)

    monkeypatch.setattr(operations, "work", called)
    return calls


def only_run() -> Any:
    (run,) = rows("SELECT * FROM scheduled_runs")
    return run


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


def test_a_result_that_cannot_be_written_leaves_nothing_running(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "_RECORD_PAUSE_SECONDS", 0.01)
    do(monkeypatch, lambda run: {"odd": object()})

    run_manually(task)

    assert only_run().state == "failed"
    assert "could not be written: TypeError" in only_run().error


def test_a_time_limit_that_comes_while_the_end_waits_for_postgresql_loses_no_end(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = ledger.claim(task.plan, trigger="tick", worker=process.worker(), wait=lambda _: None)
    assert attempt is not None
    monkeypatch.setattr(actor, "_RECORD_PAUSE_SECONDS", 0.05)
    back, recorded = threading.Event(), threading.Event()

    @contextmanager
    def connection_when_back() -> Iterator[None]:
        if not back.is_set():
            raise OperationalError("connection refused")
        with connection():
            yield

    def record() -> None:
        actor._record(lambda: ledger.succeed(attempt, {}), attempt)
        recorded.set()

    monkeypatch.setattr(actor, "connection", connection_when_back)
    thread = threading.Thread(target=record)
    thread.start()
    for _ in range(5):
        raise_thread_exception(thread.ident, TimeLimitExceeded)
        thread.join(0.1)
    back.set()
    thread.join(10)

    assert recorded.is_set()
    assert only_run().state == "succeeded"


def lose_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next claim be committed, and its process not know of it."""
    real = ledger.claim

    def claim_and_lose_the_answer(*arguments: Any, **options: Any) -> Any:
        real(*arguments, **options)
        monkeypatch.setattr(ledger, "claim", real)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(ledger, "claim", claim_and_lose_the_answer)


def test_a_claim_whose_answer_was_lost_is_closed_for_whoever_comes_next(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(monkeypatch, lambda run: {})
    lose_the_answer(monkeypatch)
    send(task, slot, "tick")
    work_off()

    assert (only_run().state, only_run().error) == ("failed", "abandoned by its worker")
    elsewhere = Liveness(connection_parameters(settings.current())).start()
    taken = ledger.claim(task.plan, trigger="tick", worker=elsewhere.worker, wait=lambda _: None)
    elsewhere.stop()
    assert taken is not None
    assert taken.attempts == 2


def test_a_claim_whose_answer_was_lost_is_run_by_the_next_message(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = do(monkeypatch, lambda run: {})
    lose_the_answer(monkeypatch)
    worker = dramatiq.Worker(current(), worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        for _ in range(2):
            send(task, slot, "tick")
            current().join("default", timeout=20_000)
            worker.join()
    finally:
        worker.stop()

    assert len(calls) == 1
    assert (only_run().state, only_run().attempts) == ("succeeded", 2)


def leak(run: Run) -> dict[str, int]:
    database.connect()
    database.begin()
    execute("INSERT INTO workers (id, host, pid, started_at) VALUES ('leaked', '', 0, now())")
    return {"left": 1}


def leak_by_peewee(run: Run) -> dict[str, int]:
    database.connect()
    database.atomic().__enter__()
    execute("INSERT INTO workers (id, host, pid, started_at) VALUES ('leaked', '', 0, now())")
    return {"left": 1}


@pytest.mark.parametrize("work", [leak, leak_by_peewee])
def test_a_transaction_that_a_run_has_left_open_is_rolled_back(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch, work: Any
) -> None:
    do(monkeypatch, work)

    send(task, slot, "tick")
    work_off()

    assert (only_run().state, only_run().result) == ("succeeded", {"left": 1})
    assert rows("SELECT id FROM workers WHERE id = 'leaked'") == []
    assert left_open() == []


def test_what_a_job_has_left_open_is_closed_at_its_message_s_end(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("oms.tests.leak", lambda: leak(None) and None, {})  # type: ignore[arg-type, func-returns-value]
    job.declare(current())
    try:
        job.send()
        work_off()
    finally:
        del current().actors[job.name]

    assert left_open() == []


def left_open() -> list[Any]:
    """The sessions that are in a transaction, once those that were closed are gone."""
    for _ in range(100):
        found = rows(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(state, 'idle in')"
        )
        if not found:
            return []
        threading.Event().wait(0.02)
    return found


def test_a_run_that_ends_while_postgresql_is_read_only_is_recorded_when_it_is_not(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "_RECORD_PAUSE_SECONDS", 0.02)
    tries: list[str] = []

    def read_only_for_a_while(*arguments: Any, **options: Any) -> bool:
        tries.append(ledger.__name__)
        if len(tries) < 3:
            with transaction():
                execute("SET TRANSACTION READ ONLY")
                return real(*arguments, **options)
        return real(*arguments, **options)

    real = ledger.succeed
    monkeypatch.setattr(ledger, "succeed", read_only_for_a_while)
    do(monkeypatch, lambda run: {"archived": 1})

    send(task, slot, "tick")
    work_off()

    assert (only_run().state, only_run().result, only_run().attempts) == ("succeeded", {"archived": 1}, 1)
    assert len(tries) == 3


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
