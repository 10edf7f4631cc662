"""VACUUM and ANALYZE of one table after the other, on a connection that does nothing else.

VACUUM cannot run inside a transaction, and the time limits of its session differ from those of the pool's. So
the connection is opened for the run, and closed after it. A table that cannot be done is reported by its name
with the reason, and the others are done.
"""

import difflib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

import settings
from oms_workers import forks
from oms_workers.base.horizon import oldest_holder
from oms_workers.base.interruption import interrupted_by
from oms_workers.base.report import LOCKED, VacuumReport
from oms_workers.database import connection_parameters
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

#: One table must not take the time of the others. A VACUUM that is cut short has still removed what it found.
MOST_SECONDS = 600.0

#: Whoever has the table locked for longer is not waited for: the next run comes.
LOCK_TIMEOUT_SECONDS = 1

#: As autovacuum does, it sleeps between two portions of work, so that planning beside it is not slowed down.
#: Its portions are five times as large, since it comes once a day.
COST_DELAY_MILLISECONDS = 2
COST_LIMIT = 1_000

#: What `pg_class.relkind` is for a table that can be vacuumed, and what else has a name of this sort.
_VACUUMED = ("r", "m", "p")
_OTHERS = {"v": "a view", "i": "an index", "S": "a sequence", "f": "a foreign table", "c": "a type"}

_OUT_OF_TIME = "57014"
_LOCKED = "55P03"


@dataclass(frozen=True)
class Maintained:
    """What became of a table: dead rows and bytes before and after, or why it was skipped.

    `dead_after` are rows that VACUUM had to leave because somebody may still see them: the `holder`.
    """

    name: str
    skipped: str | None = None
    dead_before: int | None = None
    dead_after: int | None = None
    bytes_before: int | None = None
    bytes_after: int | None = None
    holder: str | None = None


@dataclass(frozen=True)
class _Relation:
    schema: str
    name: str
    kind: str


class _Measured(NamedTuple):
    dead: int
    bytes: int
    at: datetime


def maintain(run: Run, names: Iterable[str]) -> dict[str, Any]:
    """Vacuum and analyze these tables; returns how many were done and skipped, and what became of each."""
    found: list[Maintained] = []
    with _session() as session:
        for name in names:
            if run.should_stop():
                break
            found.append(_maintain_safely(run, session, name))
    done = [each for each in found if each.skipped is None]
    return {
        "vacuumed": len(done),
        "skipped": len(found) - len(done),
        "dead_rows_removed": sum(max(0, (each.dead_before or 0) - (each.dead_after or 0)) for each in done),
        "dead_rows_left": sum(each.dead_after or 0 for each in done),
        "tables": [
            {key: value for key, value in asdict(each).items() if value is not None} for each in found
        ],
    }


@contextmanager
def _session() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as session:
        forks.keep_from_children(session)
        for name, value in (
            ("lock_timeout", f"{LOCK_TIMEOUT_SECONDS}s"),
            ("vacuum_cost_delay", f"{COST_DELAY_MILLISECONDS}ms"),
            ("vacuum_cost_limit", str(COST_LIMIT)),
        ):
            # SQL: settings of this session, whose connection is outside the pool.
            session.execute("SELECT set_config(%s, %s, false)", (name, value))
        yield session


def _maintain_safely(run: Run, session: psycopg.Connection[Any], name: str) -> Maintained:
    try:
        maintained = _maintain(run, session, name)
    except psycopg.Error as error:
        if session.closed:
            raise
        maintained = Maintained(name, skipped=_reason(run, error))
    if maintained.skipped is not None:
        logger.warning("The table %s was not vacuumed: %s.", name, maintained.skipped)
    elif maintained.dead_after:
        logger.warning(
            "Dead rows had to stay: %s of %s, which %s may still see.",
            maintained.dead_after,
            name,
            maintained.holder or "a session that has ended, or is not shown to us,",
        )
    return maintained


def _reason(run: Run, error: psycopg.Error) -> str:
    if error.sqlstate == _LOCKED:
        return LOCKED
    if error.sqlstate != _OUT_OF_TIME:
        return " ".join(str(error).split())
    return run.stopped_by or f"it took longer than {MOST_SECONDS:.0f} s, or than the run has left"


def _maintain(run: Run, session: psycopg.Connection[Any], name: str) -> Maintained:
    relation = _find(session, name)
    if relation is None:
        return Maintained(name, skipped=_unknown(session, name))
    if relation.kind not in _VACUUMED:
        what = _OTHERS.get(relation.kind, "no table")
        return Maintained(name, skipped=f"it is {what}, and only tables can be vacuumed")
    dead_before, bytes_before, begun_at = _measure(session, relation)
    report = _vacuum(run, session, relation)
    dead_after, bytes_after, _ = _measure(session, relation)
    # What was vacuumed was not skipped, whatever else the server warns of.
    if report.skipped is not None and report.removed is None:
        return Maintained(name, skipped=report.skipped, dead_before=dead_before, bytes_before=bytes_before)
    if report.removed is not None and report.left is not None:
        dead_before, dead_after = report.removed + report.left, report.left
    holder = oldest_holder(session, before=begun_at) if dead_after else None
    return Maintained(
        name,
        dead_before=dead_before,
        dead_after=dead_after,
        bytes_before=bytes_before,
        bytes_after=bytes_after,
        holder=None if holder is None else str(holder),
    )


def _find(session: psycopg.Connection[Any], name: str) -> _Relation | None:
    """What the catalogue has under exactly this name, where an unqualified name is looked for."""
    # SQL: the catalogue has no models, and this connection is outside the pool.
    found = session.execute(
        """
        SELECT nspname, relname, relkind::text
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relname = %s AND pg_table_is_visible(pg_class.oid) AND nspname <> 'pg_catalog'
        """,
        (name,),
    ).fetchone()
    return None if found is None else _Relation(*found)


def _unknown(session: psycopg.Connection[Any], name: str) -> str:
    # SQL: the catalogue has no models, and this connection is outside the pool.
    tables = [
        row[0] for row in session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ]
    close = difflib.get_close_matches(name, tables, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no table is called so, see DB_MAINTENANCE_TABLES{hint}"


def _measure(session: psycopg.Connection[Any], relation: _Relation) -> _Measured:
    """The table's dead rows by the server's statistics, its bytes with its indexes, and the time."""
    # SQL: the server's statistics have no models, and this connection is outside the pool.
    found = session.execute(
        """
        SELECT coalesce(max(n_dead_tup), 0), coalesce(max(pg_total_relation_size(pg_class.oid)), 0),
               clock_timestamp()
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        LEFT JOIN pg_stat_all_tables ON relid = pg_class.oid
        WHERE nspname = %s AND pg_class.relname = %s
        """,
        (relation.schema, relation.name),
    ).fetchone()
    assert found is not None, "a query of aggregates always has a row"
    return _Measured(*found)


def _vacuum(run: Run, session: psycopg.Connection[Any], relation: _Relation) -> VacuumReport:
    """Vacuum the table; returns what the server said, by which alone it tells that it has skipped it.

    TRUNCATE is left out: at the end it would try for seconds to lock out the readers of the table.
    """
    report = VacuumReport()
    seconds = max(1.0, min(MOST_SECONDS, run.seconds_left()))
    # SQL: a setting of this session, whose connection is outside the pool.
    session.execute("SELECT set_config('statement_timeout', %s, false)", (f"{seconds:.0f}s",))
    table = sql.Identifier(relation.schema, relation.name)
    # SQL: no model can say it. The name is the catalogue's, and is quoted.
    statement = sql.SQL("VACUUM (ANALYZE, SKIP_LOCKED, TRUNCATE FALSE, VERBOSE) {}").format(table)
    session.add_notice_handler(report.note)
    try:
        with interrupted_by(run, session):
            session.execute(statement)
    finally:
        session.remove_notice_handler(report.note)
    return report
