"""Applying the numbered scripts of this folder, once, whoever else starts at the same time.

A script comes before or after the new code runs. Those before are applied while the previous release still
runs, so they only add. Those after wait until no process of it can be alive: see `docs/migrations.md`.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from playhouse.migrations import Runner

import settings
from oms_workers.database import connection, connection_parameters, database, execute
from oms_workers.errors import OmsError
from oms_workers.migrations import announcements, scripts
from oms_workers.migrations.scripts import Phase, Script

logger = logging.getLogger(__name__)

DIRECTORY = Path(__file__).parent

#: Old and new processes of a deploy live side by side for less; `scheduling.succession` says the same.
SIDE_BY_SIDE = timedelta(minutes=10)

#: The advisory lock of whoever migrates ("omsm").
LOCK_KEY = 0x6F6D736D

#: Longer than the longest migration of ours on a large database takes.
LOCK_PATIENCE_SECONDS = 600
LOCK_PAUSE_SECONDS = 0.2

#: Chooses, from the scripts that are missing in order, those to apply now.
Choice = Callable[[list[Script]], list[Script]]


class MigrationBusyError(OmsError):
    """Another release is migrating and does not come to its end."""


@dataclass(frozen=True)
class WaitingScript:
    """An after script, and when the next `migrate()` may apply it; None before it was announced."""

    name: str
    ripe_at: datetime | None


def migrate() -> list[str]:
    """Apply what this database lacks and the previous release's processes can bear; return the names.

    After scripts that were announced less than `SIDE_BY_SIDE` ago wait. A new database gets everything.
    Raises `ScriptError` for names or numbers that are wrong, before anything is applied, and
    `MigrationBusyError` when another process has been at it for `LOCK_PATIENCE_SECONDS`.
    """
    return _migrate(_ready)


def migrate_after() -> list[str]:
    """Apply all that this database lacks, for when no process of the previous release is alive.

    Returns and raises as `migrate()` does.
    """
    return _migrate(lambda missing: missing)


def pending() -> list[str]:
    """The before scripts that this database lacks: the new code cannot run without them.

    Needs a `connection()` around it.
    """
    return [script.name for script in _missing() if script.phase is Phase.BEFORE]


def waiting() -> list[WaitingScript]:
    """The after scripts that this database lacks; needs a `connection()` around it."""
    since = announcements.announced()
    return [
        WaitingScript(script.name, since[script.name] + SIDE_BY_SIDE if script.name in since else None)
        for script in _missing()
        if script.phase is Phase.AFTER
    ]


def announce() -> None:
    """Say that a process of this release runs, and that its after scripts wait; needs a `connection()`.

    A process says so at its start, and not the release phase: a release may be refused after it has
    migrated, and then the old code runs on.
    """
    announcements.announce([script.name for script in waiting()])


def _migrate(choose: Choice) -> list[str]:
    with _alone(), connection():
        # An index of a large table may take its time; a lock that others wait behind may not.
        execute("SET statement_timeout = 0")
        try:
            missing = _missing()
            chosen = missing if _is_new() else choose(missing)
            applied: list[str] = _Runner({script.name for script in chosen}).up()
            left = [script.name for script in missing if script not in chosen]
            announcements.withdraw_all_but(left)
            return applied
        finally:
            # The setting must not stay behind in the pool.
            database.manual_close()


def _ready(missing: list[Script]) -> list[Script]:
    """Every before script, and the after scripts up to the first that has to wait."""
    ripe = announcements.announced_for(SIDE_BY_SIDE)
    chosen = []
    in_order = True
    for script in missing:
        if script.phase is Phase.AFTER:
            in_order = in_order and script.name in ripe
        if script.phase is Phase.BEFORE or in_order:
            chosen.append(script)
    return chosen


def _missing() -> list[Script]:
    """What this folder has and this database has not, in numeric order."""
    found = scripts.find(DIRECTORY)
    applied = _Runner().applied()
    missing = [script for script in found if script.name not in applied]
    # A file of another branch, which the database has already, is found by its number too.
    scripts.refuse_shared_numbers([script.name for script in missing], applied=applied)
    return missing


def _is_new() -> bool:
    return not _Runner().applied()


class _Runner(Runner):
    """Peewee's runner, which keeps the history, for some scripts of this folder."""

    def __init__(self, names: Collection[str] = ()) -> None:
        super().__init__(database, directory=str(DIRECTORY))
        self._names = names

    def migrations(self) -> list[Any]:
        return [script for script in super().migrations() if script.name in self._names]


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
