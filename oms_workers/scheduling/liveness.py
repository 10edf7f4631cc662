"""Who lives: each process that runs tasks holds one advisory lock, on a connection that does nothing else.

PostgreSQL frees the lock when the process ends, however it ends. A lock that is free for a moment proves
nothing: after a restart of PostgreSQL a process takes its lock again. So a worker is dead only when its lock
is still free after `CONFIRMATION_SECONDS`.
"""

import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from peewee import SQL, NodeList, fn

from oms_workers import forks
from oms_workers.scheduling.at_work import AtWork, OwnRow
from oms_workers.scheduling.models import Worker
from oms_workers.sets import fetch
from oms_workers.silence import why

logger = logging.getLogger(__name__)

#: The class of our advisory locks ("omsw"); it keeps them apart from those of other programs.
LOCK_CLASS = 0x6F6D7377

#: How often a process checks that it still holds its lock.
HEARTBEAT_SECONDS = 1.0

#: In this time a living process takes its lock again, or notices that it cannot and stops its runs.
CONFIRMATION_SECONDS = 10.0

#: For so long after a start of PostgreSQL no worker counts as dead: no process has its lock again yet.
START_GRACE_SECONDS = 15

#: After so long without its lock a process stops its runs, before other processes may take them over.
LOST_SECONDS = 4.0

#: How long PostgreSQL is waited for, when the last check is old and has to be made again.
ASK_SECONDS = 1.5


#: How long the look at the own rows waits for a lock on their table. The heartbeat must not wait for it.
ROW_LOCK_TIMEOUT_MILLISECONDS = 500


class LivingWorker(NamedTuple):
    """A worker that holds its lock."""

    id: str
    host: str
    pid: int
    started_at: datetime


class Liveness:
    """This process's lock. A thread keeps it, and takes it again when it is lost.

    `parameters` are those of `psycopg.connect`. The worker's id is new at every start, so a process that is
    started again is another worker.

    At each check it also asks which running rows are this worker's. So the runs `at_work` that others took
    over while the lock was lost are told within a second of its return.
    """

    def __init__(
        self,
        parameters: dict[str, Any],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        at_work: AtWork | None = None,
    ) -> None:
        self.worker = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._parameters = {**parameters, "application_name": "oms-workers liveness"}
        self._heartbeat_seconds = heartbeat_seconds
        self._connection: psycopg.Connection[Any] | None = None
        self._held_at = float("-inf")
        self._told = False
        self._at_work = at_work or AtWork()
        self._ending = threading.Event()
        self._asked = threading.Event()
        self._answered = threading.Event()
        self.thread = threading.Thread(target=self._keep, name="liveness", daemon=True)

    def start(self) -> "Liveness":
        """Take the lock, if PostgreSQL answers, and keep taking it from now on."""
        self._beat()
        self.thread.start()
        return self

    def stop(self) -> None:
        """Give the lock back. The runs of this process that have not ended are orphans from now on."""
        self._ending.set()
        self._asked.set()
        self.thread.join(timeout=2 * self._heartbeat_seconds)
        self._drop()

    def lost(self) -> bool:
        """Whether the lock has been lost for so long that other processes may soon take over our runs."""
        if self._was_held():
            return False
        # A task that held the interpreter's lock kept the thread from checking. PostgreSQL knows better.
        self._answered.clear()
        self._asked.set()
        self._answered.wait(ASK_SECONDS)
        return not self._was_held()

    def _was_held(self) -> bool:
        return time.monotonic() - self._held_at <= LOST_SECONDS

    def held(self) -> bool:
        """Whether the lock was held at the last check. Without it nothing may be claimed."""
        return self._connection is not None and not self.lost()

    def _keep(self) -> None:
        while not self._ending.is_set():
            self._asked.wait(self._heartbeat_seconds)
            self._asked.clear()
            if not self._ending.is_set():
                self._beat()
            self._answered.set()

    def _beat(self) -> None:
        try:
            connection = self._connection or self._take()
            self._look_at_own_rows(connection)
            self._held_at, self._told = time.monotonic(), False
        except psycopg.Error as error:
            if not self._told:
                self._told = True
                logger.warning("Worker %s has no liveness lock at the moment: %s", self.worker, why(error))
            self._drop()

    def _look_at_own_rows(self, connection: psycopg.Connection[Any]) -> None:
        """Any answer says that the session of the lock lives."""
        held = self._at_work.held()
        with suppress(psycopg.errors.LockNotAvailable):
            # SQL: models use connections of the pool, and this one is outside. By the index of running rows.
            found = connection.execute(
                "SELECT id, attempts, started_at FROM scheduled_runs WHERE state = 'running' AND worker = %s",
                (self.worker,),
            )
            self._at_work.keep(held, (OwnRow(*row) for row in found))

    def _take(self) -> psycopg.Connection[Any]:
        self._connection = psycopg.connect(autocommit=True, **self._parameters)
        forks.keep_from_children(self._connection)
        # SQL: a setting of this session. A migration that locks the ledger is no lost lock.
        self._connection.execute(f"SET lock_timeout = '{ROW_LOCK_TIMEOUT_MILLISECONDS}ms'")
        # The server too has to notice that this host is gone. By default it waits two hours.
        for name, value in (("idle", 10), ("interval", 5), ("count", 3)):
            # SQL: a setting of this session, whose connection is outside the pool.
            self._connection.execute(f"SET tcp_keepalives_{name} = {value}")
        # SQL: an advisory lock, held by the session of this connection.
        taken = self._connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (LOCK_CLASS, self.worker)
        ).fetchone()
        if taken is None or not taken[0]:
            raise psycopg.OperationalError("the previous session of this worker still holds it")
        # SQL: models use connections of the pool, and this connection is outside it.
        self._connection.execute(
            """
            INSERT INTO workers (id, host, pid, started_at)
            VALUES (%s, %s, %s, now())
            ON CONFLICT DO NOTHING
            """,
            (self.worker, socket.gethostname(), os.getpid()),
        )
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def living_workers() -> list[LivingWorker]:
    """The workers that hold their lock, the oldest first."""
    columns = (Worker.id, Worker.host, Worker.pid, Worker.started_at)
    query = Worker.select(*columns).where(holds_lock(Worker.id)).order_by(Worker.started_at)
    return fetch(query, LivingWorker)


def holds_lock(worker: Any) -> Any:
    """The condition that a worker holds its lock; `worker` is the column that has its id."""
    # SQL: PostgreSQL shows advisory locks in its catalogue only, and the second key of a pair unsigned.
    lock = SQL(
        f"""
        SELECT FROM pg_locks
        WHERE locktype = 'advisory'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid::bigint = {LOCK_CLASS}
          AND objsubid = 2
          AND granted
          AND objid::bigint =
        """
    )
    return fn.EXISTS(NodeList((lock, fn.hashtext(worker).cast("bigint").bin_and(0xFFFFFFFF))))
