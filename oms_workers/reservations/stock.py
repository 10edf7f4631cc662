"""The stock protocol: read without a lock, decide, lock in one order, check again, write.

Whoever takes stock calls `lock_and_check()` and `reserve()` in one transaction; whoever gives it back calls
`release.py`. Rows of stock are always locked in the order of (sku, location), so that two transactions cannot
deadlock. Orders, packages and reservations are locked before them, each in the order of their ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from peewee import fn

from oms_workers.reservations.models import Meaning, MovementKind, Reservation, ReservationKind, Stock
from oms_workers.reservations.movements import Key, move
from oms_workers.sets import Arrays, fetch, for_change, one_of

#: Units available now, by sku and location.
Available = dict[str, dict[int, int]]

#: Units wanted, by (sku, location): summed over all lines before anything is compared.
Demand = Mapping[Key, int]


class Level(NamedTuple):
    """What a location has of a sku, in units."""

    on_hand: int
    reserved: int
    safety: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved - self.safety


class NewReservation(NamedTuple):
    """Units of a sku at a location that are promised: to an item of a package or a transfer, or to none."""

    sku: str
    location_id: int
    quantity: int
    package_item_id: int | None = None
    transfer_item_id: int | None = None
    kind: ReservationKind = ReservationKind.PACKAGE
    expires_at: datetime | None = None
    meaning: Meaning | None = None


class _Available(NamedTuple):
    sku: str
    location_ids: list[int]
    units: list[int]


class _Locked(NamedTuple):
    sku: str
    location_id: int
    on_hand: int
    reserved: int
    safety: int


class _NewStock(NamedTuple):
    sku: str
    location_id: int


def available(skus: Iterable[str]) -> Available:
    """The units of these skus that could be taken now, anywhere. Not locked: others may take them."""
    # One row a sku: with a thousand locations, a row for each takes ten times as long to read.
    units = fn.array_agg(Stock.on_hand - Stock.reserved - Stock.safety).coerce(_coerce=False)
    places = fn.array_agg(Stock.location).coerce(_coerce=False)
    query = Stock.select(Stock.sku, places.alias("location_ids"), units.alias("units"))
    query = query.where(one_of(Stock.sku, sorted(skus))).group_by(Stock.sku)
    return {
        sku: dict(zip(location_ids, free, strict=True))
        for sku, location_ids, free in fetch(query, _Available)
    }


def lock_and_check(demands: Sequence[Demand]) -> list[bool]:
    """Lock the stock that is wanted, and say of each demand whether it is met, first come first served.

    What a met demand wants can be reserved until the transaction ends.
    """
    levels = lock({key for demand in demands for key in demand})
    left = {key: level.available for key, level in levels.items()}
    return [_take(left, demand) for demand in demands]


def lock(keys: Iterable[Key]) -> dict[Key, Level]:
    """Lock these rows of stock, sorted, and read them; keys without a row are left out."""
    pairs = [*keys]
    if not pairs:
        return {}
    # An UPDATE that joins the keys would lock the rows in the order of its plan. From 250 keys on that is a
    # hash join, and two of them deadlock. Here PostgreSQL sorts the rows before it locks them.
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, pairs)
    query = (
        Stock.select(Stock.sku, Stock.location, Stock.on_hand, Stock.reserved, Stock.safety)
        .join(wanted, on=wanted.matches(Stock, "sku", "location_id"))
        .order_by(Stock.sku, Stock.location)
    )
    found = fetch(for_change(query, of=Stock), _Locked)
    return {(sku, location_id): Level(*units) for sku, location_id, *units in found}


def add_missing(keys: Iterable[Key]) -> None:
    """Add rows for stock that has none yet, sorted, so that two callers cannot deadlock."""
    missing = [*map(_NewStock._make, sorted(set(keys)))]
    if missing:
        Stock.insertion(missing, on_hand=0).on_conflict_ignore().execute()


def _take(left: dict[Key, int], demand: Demand) -> bool:
    if any(left.get(key, 0) < units for key, units in demand.items()):
        return False
    for key, units in demand.items():
        left[key] -= units
    return True


def reserve(reservations: Sequence[NewReservation], *, reason: str, at: datetime) -> None:
    """Write reservations for which `lock_and_check` has found stock, and count them."""
    if not reservations:
        return
    Reservation.insert_set(reservations, created_at=at)
    moved = [(new.sku, new.location_id, new.quantity) for new in reservations]
    move(moved, kind=MovementKind.RESERVED, reason=reason, at=at)
