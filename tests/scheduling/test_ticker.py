"""The tick's own thread: who ticks, when, and what does not keep it from that."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dramatiq
import psycopg
import pytest

import settings
from oms_workers.broker import current
from oms_workers.configuration.cadence import Interval
from oms_workers.database import connection, connection_beside_pool, connection_parameters, execute, rows
from oms_workers.scheduling import tick
from oms_workers.scheduling.table import Task
from oms_workers.scheduling.ticker import Ticker
from tests.scheduling import operations

EVERY_MINUTE_AT_30 = Interval(60, offset=30)


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-25T{clock}+00:00").astimezone(UTC)


def until(found: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("last", "now", "due", "late"),
    [
        ("12:00:30", "12:01:29", False, False),
        ("12:00:30", "12:01:30", True, False),
        # It was late, and the next one is due in its own time.
        ("12:00:59", "12:01:30", True, False),
        ("12:01:30", "12:01:30", False, False),
        ("12:00:30", "12:01:42", True, False),
        # Whoever has the lock has had it for too long.
        ("12:00:30", "12:01:43", True, True),
        ("11:00:30", "12:00:00", True, True),
    ],
)
def test_a_tick_is_due_at_its_slot_and_late_when_nobody_came(
    last: str, now: str, *, due: bool, late: bool
) -> None:
    assert tick.is_due(EVERY_MINUTE_AT_30, at(last), at(now)) is due
    assert tick.is_late(EVERY_MINUTE_AT_30, at(last), at(now)) is late


def test_the_first_tick_is_due_and_not_late() -> None:
    assert tick.is_due(EVERY_MINUTE_AT_30, None, at("12:00:00"))
    assert not tick.is_late(EVERY_MINUTE_AT_30, None, at("12:00:00"))


@pytest.fixture
def ticks(task: Task, configure: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """When ticks were run, once a second at most."""
    configure(TICK_SECONDS=1)
    seen: list[datetime] = []
    real = tick.tick

    def noted() -> None:
        seen.append(datetime.now(UTC))
        real()

    monkeypatch.setattr(tick, "tick", noted)
    return seen


@contextmanager
def ticking(count: int = 1) -> Iterator[None]:
    tickers = [Ticker(look_seconds=0.02).start() for _ in range(count)]
    try:
        yield
    finally:
        for ticker in tickers:
            ticker.stop()


def test_it_ticks_while_every_thread_and_every_connection_is_taken(
    ticks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def work(run: object) -> None:
        with connection():
            let_go.wait(20)

    monkeypatch.setattr(operations, "work", lambda run, **kwargs: work(run))
    worker = dramatiq.Worker(current(), worker_threads=4, worker_timeout=20)
    others = [threading.Thread(target=work, args=(None,)) for _ in range(3)]
    for thread in others:
        thread.start()
    worker.start()
    try:
        with ticking():
            until(lambda: len(ticks) >= 2)
    finally:
        let_go.set()
        for thread in others:
            thread.join()
        worker.stop()

    last = tick.last_run()
    assert last is not None
    assert datetime.now(UTC) - last < timedelta(seconds=5)


def test_of_many_processes_one_ticks(ticks: list[datetime]) -> None:
    with ticking(4):
        until(lambda: len(ticks) >= 3)

    assert all(
        after.replace(microsecond=0) > before.replace(microsecond=0) for before, after in pairwise(ticks)
    )


def test_a_frozen_process_that_has_the_lock_delays_the_tick_and_does_not_end_it(
    ticks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    tick.record_tick()
    with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as frozen:
        frozen.execute("SELECT pg_advisory_lock(%s, %s)", tick._LOCK)
        with ticking():
            time.sleep(1.2)
            assert ticks == []
            monkeypatch.setattr(tick, "LATE_AFTER", timedelta(seconds=0.5))
            until(lambda: ticks)


def test_a_lost_connection_delays_the_tick_and_does_not_end_it(
    ticks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms_workers.scheduling.ticker.PAUSE_SECONDS", 0.1)
    with ticking():
        until(lambda: ticks)
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        seen = len(ticks)
        until(lambda: len(ticks) > seen)


def test_a_clock_that_is_set_back_delays_no_tick(ticks: list[datetime]) -> None:
    tick.record_tick()
    execute("UPDATE scheduled_tasks SET last_seen = now() + interval '1 hour'")

    with ticking():
        until(lambda: ticks)


def test_a_connection_beside_the_pool_takes_no_place_in_it_and_is_closed(db: None) -> None:
    free = settings.current().database_max_connections - 1
    with ExitStack() as stack:
        for _ in range(free):
            stack.enter_context(held())
        assert in_a_thread(beside) == 1

    until(lambda: rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'beside'") == [(0,)])


def beside() -> int:
    with connection_beside_pool():
        execute("SET application_name = 'beside'")
        return rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'beside'")[0][0]


@contextmanager
def held() -> Iterator[None]:
    """A connection of the pool, in the hands of another thread."""
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with connection():
            taken.set()
            let_go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    try:
        yield
    finally:
        let_go.set()
        thread.join()


def in_a_thread(work: Callable[[], int]) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(20)
    return found[0]
