"""How our tables grow: their sizes, measured by each run of `db-maintenance`."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.base.models import TableSize
from oms_workers.migrations.models import MigrationAnnouncement
from oms_workers.retention import Kept, Retention, registered_tables
from oms_workers.sets import fetch
from oms_workers.table_statistics import TableStatistics, statistics_of

DB_MAINTENANCE = "oms.base.tasks.db_maintenance"

#: Growth is told from the oldest measurement of this time, so that one busy day does not make a trend.
WINDOW = timedelta(days=8)

#: A shorter time says nothing of a day.
LEAST_TIME = timedelta(hours=1)

_DAY = timedelta(days=1)

SIZES = Retention(
    model=TableSize,
    what="measurements of our tables' sizes",
    moment=TableSize.measured_at,
    days="table_sizes_days",
    most="table_sizes_max_rows",
    task=DB_MAINTENANCE,
)

RETENTIONS = (SIZES, Kept(MigrationAnnouncement, "One row for each migration that waits."))


class Growth(NamedTuple):
    """A table now, and by how much it grows a day; None before it was measured for long enough."""

    name: str
    bytes: int
    rows: int
    bytes_a_day: int | None
    rows_a_day: int | None


class _Measured(NamedTuple):
    name: str
    measured_at: datetime
    bytes: int
    rows: int


def measure(now: datetime) -> None:
    """Keep the sizes that our tables have now."""
    found = statistics_of(registered_tables()).values()
    TableSize.insert_set([_Measured(each.name, now, each.bytes, each.rows) for each in found])


def growth(now: datetime) -> list[Growth]:
    """Every table of ours, the largest first."""
    earlier = {each.name: each for each in _oldest_within(now)}
    found = [
        _since(earlier.get(each.name), each, now) for each in statistics_of(registered_tables()).values()
    ]
    return sorted(found, key=lambda each: (-each.bytes, each.name))


def _oldest_within(now: datetime) -> list[_Measured]:
    """The oldest measurement of each table in the window, by the index on their time."""
    size = TableSize
    first = (
        size.select(size.name, fn.MIN(size.measured_at).alias("measured_at"))
        .where(size.measured_at >= now - WINDOW, size.measured_at <= now - LEAST_TIME)
        .group_by(size.name)
        .alias("first")
    )
    same: Any = (size.name == first.c.name) & (size.measured_at == first.c.measured_at)
    columns = (size.name, size.measured_at, size.bytes, size.rows)
    return fetch(size.select(*columns).join(first, on=same), _Measured)


def _since(earlier: _Measured | None, now_: TableStatistics, now: datetime) -> Growth:
    if earlier is None:
        return Growth(now_.name, now_.bytes, now_.rows, None, None)
    days = (now - earlier.measured_at) / _DAY
    by_bytes, by_rows = now_.bytes - earlier.bytes, now_.rows - earlier.rows
    return Growth(now_.name, now_.bytes, now_.rows, round(by_bytes / days), round(by_rows / days))
