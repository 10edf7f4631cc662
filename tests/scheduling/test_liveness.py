"""The lock that says who is alive."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import settings
from oms_workers.database import connection_parameters, execute, rows, transaction
from oms_workers.scheduling import liveness, orphans
from oms_workers.scheduling.liveness import Liveness, living_workers

PROJECT = Path(settings.__file__).parent


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(worker: Liveness) -> bool:
    return worker.worker in [found.id for found in living_workers()]


@pytest.fixture
def worker(db: None) -> Iterator[Liveness]:
    found = Liveness(connection_parameters(settings.current()), heartbeat_seconds=0.05).start()
    yield found
    found.stop()


def sessions() -> list[int]:
    """The backends that hold a lock of liveness in this database."""
    found = rows(
        """
        SELECT pid
        FROM pg_locks
        WHERE locktype = 'advisory' AND classid::bigint = %s
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """,
        (liveness.LOCK_CLASS,),
    )
    return [pid for (pid,) in found]


def cut_off() -> None:
    """End the session of the lock, as a restart of PostgreSQL or a lost network does."""
    execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (sessions(),))


def test_a_worker_lives_from_its_start_to_its_end(worker: Liveness) -> None:
    assert alive(worker)

    worker.stop()

    until(lambda: not alive(worker))
    assert rows("SELECT id FROM workers")[0].id == worker.worker


def test_a_lock_that_is_lost_is_taken_again(worker: Liveness) -> None:
    before = sessions()

    cut_off()

    until(lambda: alive(worker) and sessions() != before)
    assert not worker.lost()


def test_a_worker_without_its_lock_is_told_before_others_may_take_over() -> None:
    slowest_look = liveness.HEARTBEAT_SECONDS + 1
    told_after = liveness.LOST_SECONDS + liveness.ASK_SECONDS + slowest_look
    assert told_after < orphans._WHOLE_PAUSE * liveness.CONFIRMATION_SECONDS


def test_who_holds_the_interpreter_s_lock_has_not_lost_its_own(
    worker: Liveness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "LOST_SECONDS", 0.2)

    for _ in range(3):
        # As an extension module does, no other thread runs meanwhile.
        ctypes.PyDLL(None).usleep(500_000)
        assert not worker.lost()


def test_a_migration_that_locks_the_ledger_is_no_lost_lock(
    worker: Liveness, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sessions()
    monkeypatch.setattr(liveness, "LOST_SECONDS", 1)

    with transaction():
        execute("LOCK TABLE scheduled_runs IN ACCESS EXCLUSIVE MODE")
        time.sleep(1.5)
        assert worker.held()

    assert sessions() == before


def test_two_workers_of_one_machine_are_two(worker: Liveness) -> None:
    other = Liveness(connection_parameters(settings.current())).start()

    found = [worker.id for worker in living_workers()]

    other.stop()
    assert found == [worker.worker, other.worker]


def test_a_worker_without_postgresql_starts_and_knows_that_it_is_lost(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(liveness, "LOST_SECONDS", 0.1)
    parameters = {**connection_parameters(settings.current()), "host": "/nowhere"}
    alone = Liveness(parameters, heartbeat_seconds=0.02).start()

    assert not alone.held()
    until(alone.lost)

    alone.stop()
    said = [record.getMessage() for record in caplog.records if record.name == liveness.__name__]
    assert said == [f"Worker {alone.worker} has no liveness lock at the moment: nothing listens there"]


#: Holds its lock, a connection of the pool and one beside it; forks a child that outlives it, and is killed.
FORKS = """
import os, signal, sys, time
import settings
from oms_workers.database import connection, connection_beside_pool, rows
from oms_workers.scheduling import process
settings.load(need_servers=True)
print(process.worker(), flush=True)
with connection():
    rows("SELECT 1")
    child = os.fork()
    if child == 0:
        try:
            try:
                rows("SELECT 1")
            except Exception:
                pass
            with connection():
                (found,) = rows("SELECT 1 AS one")
            print(found.one, process.worker(), flush=True)
            process.stop_liveness()
            os.close(1)
            time.sleep(30)
        finally:
            os._exit(0)
    rows("SELECT 1")
    time.sleep(float(sys.argv[1]))
    rows("SELECT 1")
    print("the parent's session lives", process.holds_lock(), child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_lock_ends_with_its_process_although_a_forked_child_lives(db: None) -> None:
    forked = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKS, "2"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = forked.communicate(timeout=30)
    parent, child_said, end = said.splitlines()
    child = int(end.split()[-1])

    try:
        assert end == f"the parent's session lives True {child}"
        assert child_said.startswith("1 ")
        assert child_said != f"1 {parent}"
        assert psutil.pid_exists(child)
        until(lambda: parent not in [found.id for found in living_workers()])
    finally:
        os.kill(child, signal.SIGKILL)
