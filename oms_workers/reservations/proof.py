"""The proof of the counters: each is the sum of its movements, and where it is not, since when."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from peewee import JOIN, Case, Entity, fn

from oms_workers.reservations.models import MovementKind, Stock, StockMovement
from oms_workers.reservations.stock import EFFECTS, Key, kinds_that_change
from oms_workers.sets import Arrays, among, fetch

#: Stocks whose movements are read one by one in one go.
BATCH = 100

COUNTERS = ("on_hand", "reserved")


class Unproven(NamedTuple):
    """A counter that is not the sum of its movements; `value` is None where there is no row of stock.

    It was right on the day `right_until`, and was first seen to differ on `wrong_since`. Either is None where
    no movement shows it: a difference that came after the last movement has no `wrong_since`.
    """

    sku: str
    location_id: int
    counter: str
    value: int | None
    moved: int
    right_until: date | None
    wrong_since: date | None


class Sums(NamedTuple):
    """What a stock's counters are, or None without a row, and what its movements make of them."""

    sku: str
    location_id: int
    on_hand: int | None
    reserved: int | None
    moved_on_hand: int
    moved_reserved: int

    @property
    def key(self) -> Key:
        return self.sku, self.location_id


class _Noted(NamedTuple):
    sku: str
    location_id: int
    kind: MovementKind
    quantity: int
    on_hand: int | None
    reserved: int | None
    summed_rows: int | None
    day: date


def unproven() -> list[Unproven]:
    """The counters that are not the sum of their movements, each with the first day of the difference."""
    wrong = sorted(fetch(_sums().where(_differs()), Sums))
    found: list[Unproven] = []
    for start in range(0, len(wrong), BATCH):
        batch = wrong[start : start + BATCH]
        noted = _noted([sums.key for sums in batch])
        for sums in batch:
            found += _of_stock(sums, noted.get(sums.key, ()))
    return found


def sums_of(keys: Sequence[Key]) -> dict[Key, Sums]:
    """What the movements of these make of the counters, whether or not they differ."""
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    found = fetch(_sums(wanted), Sums)
    return {sums.key: sums for sums in found}


def _sums(wanted: Arrays | None = None) -> Any:
    moved = StockMovement.select(
        StockMovement.sku,
        StockMovement.location_id,
        *(_sum(counter).alias(f"moved_{counter}") for counter in COUNTERS),
    ).group_by(StockMovement.sku, StockMovement.location_id)
    if wanted is not None:
        moved = moved.join(wanted, on=wanted.matches(StockMovement, "sku", "location_id"))
    moved = moved.alias("moved")
    same = (Stock.sku == moved.c.sku) & (Stock.location == moved.c.location_id)
    query = Stock.select(
        fn.COALESCE(Stock.sku, moved.c.sku).alias("sku"),
        fn.COALESCE(Stock.location, moved.c.location_id).alias("location_id"),
        Stock.on_hand,
        Stock.reserved,
        fn.COALESCE(moved.c.moved_on_hand, 0).alias("moved_on_hand"),
        fn.COALESCE(moved.c.moved_reserved, 0).alias("moved_reserved"),
    )
    if wanted is None:
        return query.join(moved, JOIN.FULL, on=same)
    known = query.join(moved, JOIN.LEFT_OUTER, on=same)
    return known.join_from(Stock, wanted, on=wanted.matches(Stock, "sku", "location_id"))


def _sum(counter: str) -> Any:
    changes = among(StockMovement.kind, kinds_that_change(counter))
    return fn.SUM(Case(None, [(changes, StockMovement.quantity)], 0)).cast("int")


def _differs() -> Any:
    """Without a row of stock, movements that come to nothing are no difference."""
    moved_on_hand, moved_reserved = (fn.COALESCE(_column(name), 0) for name in COUNTERS)
    return (fn.COALESCE(Stock.on_hand, 0) != moved_on_hand) | (
        fn.COALESCE(Stock.reserved, 0) != moved_reserved
    )


def _column(counter: str) -> Any:
    return Entity("moved", f"moved_{counter}")


def _noted(keys: Sequence[Key]) -> dict[Key, list[_Noted]]:
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    moved = StockMovement
    columns = (moved.sku, moved.location_id, moved.kind, moved.quantity, moved.on_hand, moved.reserved)
    query = (
        moved.select(*columns, moved.summed_rows, fn.DATE(moved.at).alias("day"))
        .join(wanted, on=wanted.matches(moved, "sku", "location_id"))
        # What was summed up is older than all that was not.
        .order_by(moved.summed_rows.is_null(), moved.id)
    )
    found: dict[Key, list[_Noted]] = {}
    for row in fetch(query, _Noted):
        found.setdefault((row.sku, row.location_id), []).append(row)
    return found


def _of_stock(sums: Sums, noted: Iterable[_Noted]) -> Iterable[Unproven]:
    rows = [*noted]
    for counter in COUNTERS:
        value, moved = getattr(sums, counter), getattr(sums, f"moved_{counter}")
        if (value or 0) != moved:
            days = first_difference(rows, counter)
            yield Unproven(*sums.key, counter, value, moved, *days)


def first_difference(noted: Sequence[_Noted], counter: str) -> tuple[date | None, date | None]:
    """The day on which a counter was last seen to be the sum of its movements, and the first one after it on
    which it was seen not to be.

    Each movement has the counter after it. A row of an earlier release, or the sum of older rows, does not,
    and shows nothing. Nor does a row of the days of a sum: that may hold movements which came after it.
    """
    total, right, wrong = 0, None, None
    summed = max((row.day for row in noted if row.summed_rows is not None), default=None)
    for row in noted:
        total += row.quantity * getattr(EFFECTS[row.kind], counter)
        seen = getattr(row, counter)
        if seen is None or (summed is not None and row.day <= summed):
            continue
        if seen == total:
            right, wrong = row.day, None
        elif wrong is None:
            wrong = row.day
    return right, wrong
