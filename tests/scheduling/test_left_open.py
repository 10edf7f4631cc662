"""What a run, a claim or a job leaves open when it does not end as it should."""

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
from oms_workers.broker import Job, current
from oms_workers.database import connection, connection_parameters, database, execute, rows, transaction
from oms_workers.scheduling import actor, ledger, process
from oms_workers.scheduling.actor import run_manually, send
from oms_workers.scheduling.liveness import Liveness
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task
from tests.scheduling.work import do, only_run, work_off


def test_a_result_that_cannot_be_written_leaves_nothing_running(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "_RECORD_PAUSE_SECONDS", 0.01)
    do(monkeypatch, lambda run: {"odd": object()})

    run_manually(task)

    assert only_run().state == "failed"
    assert "could not be written: TypeError" in only_run().error
    # A person asked for it, so it is never run again by itself.
    assert only_run().next_attempt_at is None


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
