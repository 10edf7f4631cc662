"""What PostgreSQL knows of our tables without counting: rows, dead rows, bytes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import SQL

from oms_workers.database import rows

#: Statistics are lost in a crash, and then the catalogue knows more.
_ROWS = "greatest(coalesce(n_live_tup, 0), reltuples::bigint, 0)::bigint"


class TableStatistics(NamedTuple):
    """A table of ours. `rows` and `dead` are estimates; `bytes` has the indexes and long values in it."""

    name: str
    rows: int
    dead: int
    bytes: int


def statistics_of(names: Sequence[str]) -> dict[str, TableStatistics]:
    """The statistics of these tables, by name; a name that is no table is left out."""
    # SQL: the catalogue and the server's statistics have no models.
    query = f"""
        SELECT pg_class.relname::text, {_ROWS}, coalesce(n_dead_tup, 0), pg_total_relation_size(pg_class.oid)
        FROM pg_class
        LEFT JOIN pg_stat_user_tables ON relid = pg_class.oid
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND pg_class.relname = ANY(%s)
    """
    return {found.name: found for found in rows(query, ([*names],), into=TableStatistics)}


def estimated_rows(table: str) -> Any:
    """How many rows a table of ours has, about, as a part of a query that does something else."""
    # SQL: the catalogue and the server's statistics have no models.
    query = f"""
        SELECT {_ROWS}
        FROM pg_class LEFT JOIN pg_stat_user_tables ON relid = pg_class.oid
        WHERE pg_class.oid = '{table}'::regclass
    """
    return SQL(f"({query})")
