"""What a process says of itself: which configurations it runs, and that it cannot write them now."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dramatiq
import psycopg
import pytest

import settings
from oms_workers import servers
from oms_workers.broker import current
from oms_workers.database import connection_parameters, database, execute, rows
from oms_workers.scheduling import known_cadences, process, tick
from oms_workers.scheduling.actor import send
from oms_workers.scheduling.table import Task
from oms_workers.scheduling.ticker import Ticker
from tests.scheduling.test_ticker import until
from tests.scheduling.work import do, only_run, work_off


@pytest.fixture(autouse=True)
def _just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_recorded", False)
    monkeypatch.setattr(process, "SEEN_SECONDS", 0.0)


def test_those_who_are_left_decide_whether_a_task_is_enabled(
    task: Task, slot: datetime, configure: Any
) -> None:
    off = replace(task.plan, enabled=False)
    known_cadences.record([off])
    process.keep_cadences()
    assert enabled(task) == (False, slot)

    # All that is left are processes that have it enabled, and they have run for ten minutes.
    execute("UPDATE task_configurations SET last_seen = now() - interval '11 minutes' WHERE NOT enabled")
    execute("UPDATE task_configurations SET alone_since = now() - interval '10 minutes' WHERE enabled")
    process.keep_cadences()

    now_enabled, since = enabled(task)
    assert now_enabled
    assert since > slot


def enabled(task: Task) -> tuple[bool, datetime]:
    (known,) = rows("SELECT enabled, since FROM scheduled_tasks WHERE task = %s", (task.path,))
    return known.enabled, known.since


def test_it_keeps_the_cadences_seen_without_starting_them_anew(task: Task, slot: datetime) -> None:
    execute("UPDATE scheduled_tasks SET last_seen = now() - interval '1 day'")

    process.keep_cadences()

    (known,) = rows(
        "SELECT since, now() - last_seen AS unseen FROM scheduled_tasks WHERE task = %s", (task.path,)
    )
    assert known.since == slot
    assert known.unseen < timedelta(minutes=1)


@contextmanager
def read_only() -> Iterator[None]:
    """PostgreSQL takes no writes from sessions that begin now, as during a failover."""
    (name,) = rows("SELECT current_database()")[0]
    execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.close()
    database.close_all()
    try:
        yield
    finally:
        with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as session:
            session.execute("SET default_transaction_read_only = off")
            session.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        database.close_all()
        database.connect()


def test_a_worker_starts_while_postgresql_takes_no_writes_and_records_itself_later(
    task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    worker = dramatiq.Worker(current(), worker_threads=1, worker_timeout=20)
    with read_only():
        worker.start()
        try:
            assert process._liveness is not None
        finally:
            worker.stop()
    assert "The schedule is not recorded" in caplog.text
    assert known_cadences.find(task.plan) is None

    process.keep_cadences()

    assert known_cadences.find(task.plan) is not None


def test_a_clock_starts_while_postgresql_takes_no_writes(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.signal, "signal", lambda number, handler: None)
    with read_only():
        process.start_clock()

    assert not process._recorded


def test_each_process_says_what_it_runs_whoever_ticks(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick, "tick_if_due", lambda: False)
    ticker = Ticker(look_seconds=0.02).start()
    try:
        until(lambda: known_cadences.find(task.plan))
        execute("UPDATE task_configurations SET last_seen = now() - interval '1 day'")
        until(lambda: rows("SELECT FROM task_configurations WHERE last_seen > now() - interval '1 hour'"))
    finally:
        ticker.stop()


def test_the_servers_are_tried_at_the_start_and_not_at_each_message(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    monkeypatch.setattr(servers, "refuse_unfit", lambda: tried.append(threading.get_ident()))
    monkeypatch.setattr(process, "record_cadences", lambda: None)
    do(monkeypatch, lambda run: {})
    for _ in range(5):
        send(task, slot, "tick")

    work_off()

    assert only_run().state == "succeeded"
    assert len(tried) == 1
