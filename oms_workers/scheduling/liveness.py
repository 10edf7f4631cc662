"""Who is alive: each process that runs tasks holds one advisory lock, on a connection that does nothing else.

The lock goes when the process does, however it ends, and PostgreSQL says at once who holds none. A lock
that is free for a moment proves nothing, since a process takes its lock again after PostgreSQL has
restarted; so a worker is dead only when its lock is still free after `CONFIRMATION_SECONDS`.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

from oms_workers.database import rows

logger = logging.getLogger(__name__)

#: The class of our advisory locks, apart from those of other users of the database ("omsw").
LOCK_CLASS = 0x6F6D7377

#: How often a process makes sure that it still holds its lock.
HEARTBEAT_SECONDS = 1.0

#: Long enough for a living process to take its lock again, or to notice that it cannot and to stop.
CONFIRMATION_SECONDS = 10.0

#: After a start of PostgreSQL nobody holds a lock yet.
START_GRACE_SECONDS = 15

#: A process that has been without its lock for so long stops its runs, before others may take them over.
LOST_SECONDS = 4.0

#: A worker's lock in `pg_locks`, where the second key of a pair is shown unsigned.
HOLDS_LOCK = f"""
    EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid::bigint = {LOCK_CLASS}
          AND objid::bigint = (hashtext({{worker}})::bigint & 4294967295)
          AND objsubid = 2
          AND granted
    )
"""


class Liveness:
    """This process's lock, kept by a thread that takes it again whenever it is lost.

    `parameters` are those of `psycopg.connect`. The worker's id is new at every start, so that a process
    that comes back after its death is somebody else.
    """

    def __init__(self, parameters: dict[str, Any], *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.worker = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._parameters = {**parameters, "application_name": "oms-workers liveness"}
        self._heartbeat_seconds = heartbeat_seconds
        self._connection: psycopg.Connection[Any] | None = None
        self._held_at = float("-inf")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="liveness", daemon=True)

    def start(self) -> "Liveness":
        """Take the lock, if PostgreSQL answers, and keep taking it from now on."""
        self._beat()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Give the lock back. What this process still runs is an orphan from now on."""
        self._ending.set()
        self._thread.join(timeout=2 * self._heartbeat_seconds)
        self._drop()

    def lost(self) -> bool:
        """Whether the lock has been gone for so long that others may be about to take over our runs."""
        return time.monotonic() - self._held_at > LOST_SECONDS

    def held(self) -> bool:
        """Whether the lock was there at the last look; without it nothing may be claimed."""
        return self._connection is not None and not self.lost()

    def _keep(self) -> None:
        while not self._ending.wait(self._heartbeat_seconds):
            self._beat()

    def _beat(self) -> None:
        try:
            if self._connection is None:
                self._take()
            else:
                self._connection.execute("SELECT 1")
            self._held_at = time.monotonic()
        except psycopg.Error as error:
            if self._connection is not None or not self.lost():
                logger.warning("Worker %s has no liveness lock at the moment: %s", self.worker, error)
            self._drop()

    def _take(self) -> None:
        self._connection = psycopg.connect(autocommit=True, **self._parameters)
        # The server too has to notice a vanished host, and it waits two hours by default.
        for name, value in (("idle", 10), ("interval", 5), ("count", 3)):
            self._connection.execute(f"SET tcp_keepalives_{name} = {value}")
        taken = self._connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (LOCK_CLASS, self.worker)
        ).fetchone()
        if taken is None or not taken[0]:
            raise psycopg.OperationalError("the previous session of this worker still holds it")
        self._connection.execute(
            """
            INSERT INTO workers (id, host, pid, started_at)
            VALUES (%s, %s, %s, now())
            ON CONFLICT DO NOTHING
            """,
            (self.worker, socket.gethostname(), os.getpid()),
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def living_workers() -> list[Any]:
    """The workers that hold their lock, the oldest first."""
    return rows(
        f"""
        SELECT id, host, pid, started_at
        FROM workers
        WHERE {HOLDS_LOCK.format(worker="workers.id")}
        ORDER BY started_at
        """
    )


def find_orphans(task: str | None, wait: Callable[[float], object]) -> list[Any]:
    """The running rows of a task, or of all, whose worker is dead at two looks, `wait` between them."""
    suspects = _find_suspects(task)
    if not suspects:
        return []
    asked_at = time.monotonic()
    wait(CONFIRMATION_SECONDS)
    if time.monotonic() - asked_at < CONFIRMATION_SECONDS:
        # Cut short, since this process is to stop: somebody else will look.
        return []
    confirmed = {(found.id, found.attempts) for found in _find_suspects(task)}
    return [found for found in suspects if (found.id, found.attempts) in confirmed]


def _find_suspects(task: str | None) -> list[Any]:
    return rows(
        f"""
        SELECT id, task, slot, attempts, worker
        FROM scheduled_runs
        WHERE state = 'running'
          AND (%(task)s::text IS NULL OR task = %(task)s)
          AND clock_timestamp() > pg_postmaster_start_time() + make_interval(secs => %(grace)s)
          AND NOT {HOLDS_LOCK.format(worker="worker")}
        """,
        {"task": task, "grace": START_GRACE_SECONDS},
    )
