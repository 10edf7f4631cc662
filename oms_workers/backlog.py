"""What waits, as the rooms say it: each registers the states in which its objects wait.

register_waiting(Waiting("orders held", lambda: count_since(Order.placed_at, ...)))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peewee import SQL, Select, fn

from oms_workers.errors import OmsError

#: A list says exactly how many more there are up to this number, so that its cost has a bound.
MOST_COUNTED = 1_000


class DoubleWaitingError(OmsError):
    """Two rooms register one state."""


@dataclass(frozen=True)
class Waiting:
    """A state in which things wait, and the keys of the tasks that look for them.

    `query` makes the query for how many there are, and since when the oldest waits: see `count_since`. It
    must use an index that holds only what waits. Where `at_locations` is true, people at the locations work
    on it. With neither a task nor people at locations, it waits for an operator. What waits for longer than
    `patience` is a finding of `oms status --check`; None where it may rightly wait for any time. `arrived` is
    the query for since when it waits here, where the moment of `query` may lie long before.
    """

    state: str
    query: Callable[[], Any]
    env_keys: tuple[str, ...] = ()
    at_locations: bool = False
    patience: timedelta | None = None
    arrived: Callable[[], Any] | None = None


_registered: dict[str, Waiting] = {}


def register_waiting(*rows: Waiting) -> None:
    """Add rows to the backlog. Raises `DoubleWaitingError` where a state is there already."""
    for row in rows:
        if row.state in _registered:
            raise DoubleWaitingError(f"The backlog's row {row.state!r} is registered twice.")
        _registered[row.state] = row


def registered_waiting() -> list[Waiting]:
    """All rows, in the order in which they were registered."""
    return [*_registered.values()]


def count_since(moment: Any, *conditions: Any) -> Any:
    """The query for how many rows of a model meet the conditions, and the oldest `moment` of them."""
    counted = moment.model.select(fn.COUNT(SQL("*")).alias("waiting"), fn.MIN(moment).alias("oldest"))
    return counted.where(*conditions) if conditions else counted


def first_rows(model: Any, order: Sequence[Any], *conditions: Any, limit: int) -> Any:
    """The first rows that meet the conditions, as a table `page` to join: `id`, `position` and `total`.

    `total` is how many there are, from the same statement; beyond the page it counts at most
    `MOST_COUNTED` + 1 rows.
    """
    position = fn.ROW_NUMBER().over(order_by=[*order]).alias("position")
    found = model.select(model.id, position)
    found = found.where(*conditions) if conditions else found
    counted = found.order_by(SQL("position")).limit(limit + MOST_COUNTED + 1).alias("found")
    columns = [counted.c.id, counted.c.position, fn.COUNT(SQL("*")).over().alias("total")]
    return Select([counted], columns).order_by(counted.c.position).limit(limit).alias("page")
