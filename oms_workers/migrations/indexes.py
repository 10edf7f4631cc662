"""Indexes of large tables, made while the table is read and written."""

import logging
import time
from typing import Any

from peewee import IntegrityError

from oms_workers.migrations.scripts import ScriptError

logger = logging.getLogger(__name__)

#: PostgreSQL notices within two seconds that the process which asked for an index was killed.
BUILDER_PAUSE_SECONDS = 0.2


def create_index_concurrently(db: Any, name: str, on: str, *, unique: bool = False) -> None:
    """Make the index `name` on `on`, unless it is there; may be killed at any point and called again.

    For scripts with `atomic = False`:

        create_index_concurrently(db, "orders_channel", "orders (channel) WHERE state = 'waiting'")

    An index that a killed attempt has left is invalid: it costs writes and serves no query. It is dropped
    first. Raises `ScriptError` inside a transaction, and when rows contradict a unique index.
    """
    if db.in_transaction():
        raise ScriptError(
            f"The index {name} cannot be made concurrently inside a transaction. "
            "Write `atomic = False` at the top of its migration script."
        )
    # It waits for transactions that began before it, and nobody who reads or writes waits for it.
    db.execute_sql("SET lock_timeout = 0")
    try:
        _wait_for_builder(db, name)
        _drop_invalid(db, name)
        _create(db, name, on, unique)
    finally:
        db.execute_sql("RESET lock_timeout")


def _create(db: Any, name: str, on: str, unique: bool) -> None:  # noqa: FBT001 - handed on by name above
    kind = "UNIQUE INDEX" if unique else "INDEX"
    try:
        db.execute_sql(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {on}")
    except IntegrityError as error:
        # The leftover would go on refusing rows that the old code may write.
        _drop_invalid(db, name)
        raise ScriptError(
            f"The unique index {name} cannot be made, because rows contradict it: "
            f"{' '.join(str(error).split())}. Mend these rows and run `oms migrate` again."
        ) from error


def _drop_invalid(db: Any, name: str) -> None:
    found = db.execute_sql(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,)
    ).fetchone()
    if found is not None and not found[0]:
        logger.warning("The index %s was left unfinished by an earlier attempt; it is made anew.", name)
        db.execute_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _wait_for_builder(db: Any, name: str) -> None:
    """Ask again and again: to wait inside PostgreSQL is to be waited for by the one who builds."""
    while _is_being_built(db, name):
        time.sleep(BUILDER_PAUSE_SECONDS)


def _is_being_built(db: Any, name: str) -> bool:
    found = db.execute_sql(
        "SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid = to_regclass(%s)", (name,)
    ).fetchone()
    return found is not None
