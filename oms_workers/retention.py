"""How long the rows of each table are kept: every room registers its tables, with who sees to it.

    register_retentions(
        Retention(
            model=RejectedOrder,
            what="rejected orders that were not looked at again",
            moment=RejectedOrder.last_seen_at,
            days="rejected_orders_days",
            most="rejected_orders_max_rows",
            task="oms.orders.tasks.get_orders_from_omnitron",
        ),
        Kept(Order, "The merchant's own record."),
    )

At the end of each of its runs, the task removes what is too old, or more than may be there. That is done in
batches. A batch is one statement, which takes the oldest rows by the index on `moment`, and tells how far it
has come. The next batch begins there, so that rows which have to stay are passed once a run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from peewee import SQL, Select, Tuple, fn

import settings
from oms_workers.database import Table, database, retry_transient
from oms_workers.errors import OmsError
from oms_workers.isolation import guarded
from oms_workers.sets import column, exists, fetch_one
from oms_workers.table_statistics import estimated_rows

#: A statement of so many rows takes a fraction of a second, and what it locks is waited for no longer.
BATCH = 5_000

#: A table that has more to go than this is behind: each of the tasks runs once a day at least.
GRACE = timedelta(days=2)


class DoubleRetentionError(OmsError):
    """Two rooms say how long one thing is kept."""


class Removed(NamedTuple):
    """What one batch has removed: how many rows, and the moment of the last; None where there was none.

    `table_rows` is PostgreSQL's estimate of how many the table has.
    """

    rows: int
    until: datetime | None
    table_rows: int


def _nothing() -> Sequence[Any]:
    return ()


@dataclass(frozen=True)
class Retention:
    """The limit of a table, or of some of its rows, by age and by count.

    `what` says which rows go, and `becomes` what becomes of them. `moment` is the column from which their age
    counts; it has an index. `days` and `most` are settings: the age in days, and how many rows may be there.
    `task` is the path of the task that sees to it.

    `belongs` are conditions for the rows that are meant, as a partial index has them. `may_go` are conditions
    that change, such as that nobody needs the row. `remove` makes the statement of a batch, from the query
    for its rows; it deletes them unless it says otherwise. Where `is_own_work` is true, the task's function
    itself removes the rows, since that is what the task is for.
    """

    model: type[Table]
    what: str
    moment: Any
    days: str
    most: str
    task: str
    becomes: str = "deleted"
    belongs: Callable[[], Sequence[Any]] = _nothing
    may_go: Callable[[], Sequence[Any]] = _nothing
    remove: Callable[["Retention", Any], Any] | None = None
    is_own_work: bool = False

    @property
    def table(self) -> str:
        name: str = self.model._meta.table_name
        return name

    @property
    def name(self) -> str:
        """What its count is called in the result of a run."""
        return f"{self.table}_{self.becomes.partition(' ')[0]}"

    @property
    def age(self) -> timedelta:
        days: int = getattr(settings.current(), self.days)
        return timedelta(days=days)

    @property
    def most_rows(self) -> int:
        most: int = getattr(settings.current(), self.most)
        return most


@dataclass(frozen=True)
class Kept:
    """A table that needs no limit, with what bounds it."""

    model: type[Table]
    why: str

    @property
    def table(self) -> str:
        name: str = self.model._meta.table_name
        return name


_registered: list[Retention | Kept] = []


def register_retentions(*limits: Retention | Kept) -> None:
    """Say how long rows are kept. Raises `DoubleRetentionError` where that is said already."""
    for limit in limits:
        if _key(limit) in map(_key, _registered):
            raise DoubleRetentionError(f"The retention of {limit.table} is registered twice.")
        _registered.append(limit)


def _key(limit: Retention | Kept) -> tuple[str, str]:
    return (limit.table, limit.what if isinstance(limit, Retention) else "")


def registered_retentions() -> list[Retention]:
    """Every limit, in the order in which they were registered."""
    return [limit for limit in _registered if isinstance(limit, Retention)]


def registered_kept() -> list[Kept]:
    """Every table that needs no limit."""
    return [limit for limit in _registered if isinstance(limit, Kept)]


def registered_tables() -> list[str]:
    """The names of our tables, each once."""
    return sorted({limit.table for limit in _registered})


def remove_old_rows(
    task: str, now: datetime, *, should_stop: Callable[[], bool], batch: int = BATCH
) -> dict[str, int]:
    """Remove what is over the limits that this task sees to; returns how many rows of each.

    One table that fails stops no other. Needs a `connection()` around it.
    """
    counts: dict[str, int] = {}
    for limit in registered_retentions():
        if limit.task == task and not limit.is_own_work and not should_stop():
            problem = f"Old rows of {limit.table} cannot be {limit.becomes}"
            guarded(_remove_all, limit, now, should_stop, batch, counts, problem=problem)
    return counts


def _remove_all(
    limit: Retention, now: datetime, should_stop: Callable[[], bool], batch: int, counts: dict[str, int]
) -> bool:
    removed = remove_in_batches(limit, now, age=limit.age, should_stop=should_stop, batch=batch)
    counts[limit.name] = counts.get(limit.name, 0) + removed
    return True


def remove_in_batches(
    limit: Retention,
    now: datetime,
    *,
    age: timedelta,
    should_stop: Callable[[], bool],
    batch: int = BATCH,
) -> int:
    """Remove the rows that are older than `age`, then those that are too many; returns how many.

    Each batch is one statement. A row exactly so old stays.
    """
    total, table_rows = _remove_before(limit, now - age, should_stop, batch)
    if table_rows > limit.most_rows and not should_stop():
        enough = oldest_of_enough(limit)
        total += _remove_before(limit, enough, should_stop, batch)[0] if enough is not None else 0
    return total


def _remove_before(
    limit: Retention, before: datetime, should_stop: Callable[[], bool], batch: int
) -> tuple[int, int]:
    """Remove in batches; returns how many, and how many rows the table has by the last batch's estimate."""
    total, floor = 0, None
    while True:
        removed = retry_transient(partial(remove_batch, limit, before, floor, batch))
        total += removed.rows
        if removed.rows < batch or should_stop():
            return total, removed.table_rows
        floor = removed.until


def remove_batch(limit: Retention, before: datetime, floor: datetime | None, batch: int) -> Removed:
    """Remove the oldest rows before this moment, and not before `floor`, in one statement."""
    query = rows_before(limit, before)
    if floor is not None:
        query = query.where(limit.moment >= floor)
    chosen = query.order_by(limit.moment).limit(batch)
    removed = fetch_one((limit.remove or delete)(limit, chosen), Removed)
    assert removed is not None, "a query of aggregates always has a row"
    return removed


def rows_before(limit: Retention, before: datetime) -> Any:
    """The query for the keys of the rows that have to go, by the index on their moment."""
    conditions = [*limit.belongs(), *limit.may_go(), limit.moment < before]
    return limit.model.select(*keys_of(limit.model)).where(*conditions)


def oldest_of_enough(limit: Retention) -> datetime | None:
    """The moment of the oldest row that the limit by count leaves; None where there are not so many.

    Counting that far takes a while, so ask only where PostgreSQL's estimate says that there are more.
    """
    found = _moment_after(limit, limit.most_rows - 1)
    return found[0] if found else None


def has_more(limit: Retention, than: int) -> bool:
    """Whether there are more of the rows that are meant. It counts: ask where the estimate says so."""
    return bool(_moment_after(limit, than))


def _moment_after(limit: Retention, rows: int) -> list[datetime]:
    """The moment of the newest row but so many, if there is one."""
    newest = limit.model.select(limit.moment).where(*limit.belongs(), ~limit.moment.is_null())
    return column(newest.order_by(limit.moment.desc()).offset(rows).limit(1))


def is_behind(limit: Retention, now: datetime) -> bool:
    """Whether there are rows that should have gone `GRACE` ago."""
    return exists(rows_before(limit, now - limit.age - GRACE))


def keys_of(model: type[Table]) -> list[Any]:
    """The columns of a table's primary key."""
    meta: Any = model._meta
    return [*meta.get_primary_keys()]


def chosen_rows(limit: Retention, chosen: Any) -> tuple[Any, Any]:
    """The query for a batch as the table `batch`, with its rows locked, and the condition to be one of it."""
    keys = keys_of(limit.model)
    names = [key.column_name for key in keys]
    # Another process that is at the same rows goes on with them.
    batch = chosen.for_update("FOR UPDATE SKIP LOCKED").cte("batch", columns=names)
    same = Tuple(*keys).in_(Select([batch], [getattr(batch.c, name) for name in names]))
    return batch, same


def delete(limit: Retention, chosen: Any) -> Any:
    """The statement that deletes a batch."""
    batch, same = chosen_rows(limit, chosen)
    deletion = limit.model.delete().where(same).returning(limit.moment)
    removed = deletion.cte("removed", columns=["moment"])
    return count_removed(limit, removed, batch, removed)


def count_removed(limit: Retention, removed: Any, *parts: Any) -> Any:
    """The query for what a batch has `removed`, with its `moment`, made of these parts in their order."""
    columns = [
        fn.COUNT(SQL("*")).alias("rows"),
        fn.MAX(removed.c.moment).alias("until"),
        estimated_rows(limit.table).alias("table_rows"),
    ]
    return Select([removed], columns).with_cte(*parts).bind(database)
