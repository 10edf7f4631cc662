"""Applying the numbered scripts of this folder, once, whoever else starts at the same time.

They suit the code that still runs while they are applied: they add, and remove only what an earlier
release has stopped using.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from playhouse.migrations import Runner

import settings
from oms_workers.database import connection, connection_parameters, database, execute
from oms_workers.errors import OmsError

logger = logging.getLogger(__name__)

#: The advisory lock of whoever migrates ("omsm").
LOCK_KEY = 0x6F6D736D

#: Longer than the longest migration of ours on a large database takes.
LOCK_PATIENCE_SECONDS = 600
LOCK_PAUSE_SECONDS = 0.2


class MigrationBusyError(OmsError):
    """Another release is migrating and does not come to its end."""


def migrate() -> list[str]:
    """Apply every script that this database does not have yet, and return their names.

    Raises `MigrationBusyError` when another process has been at it for `LOCK_PATIENCE_SECONDS`.
    """
    with _alone(), connection():
        # An index of a large table may take its time; a lock that others wait behind may not.
        execute("SET statement_timeout = 0")
        try:
            applied: list[str] = _runner().up()
            return applied
        finally:
            # The setting must not stay behind in the pool.
            database.manual_close()


def pending() -> list[str]:
    """The scripts that this database does not have yet; needs a `connection()` around it."""
    return [script.name for script in _runner().status() if script.path and not script.applied]


def _runner() -> Runner:
    return Runner(database, directory=str(Path(__file__).parent))


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock by asking again and again: one who waits inside PostgreSQL holds a snapshot, and a
    CREATE INDEX CONCURRENTLY of the other waits for that snapshot in turn."""
    with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as session:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _try_lock(session):
            if time.monotonic() > deadline:
                raise MigrationBusyError(
                    f"Another process has been migrating for {LOCK_PATIENCE_SECONDS} s; "
                    "see its log, or end its session, and run `oms migrate` again."
                )
            time.sleep(LOCK_PAUSE_SECONDS)
        yield


def _try_lock(session: psycopg.Connection) -> bool:
    found = session.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
    return bool(found and found[0])
