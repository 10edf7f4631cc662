"""The stock protocol: read without a lock, decide, lock in one order, check again, write.

Whoever takes stock calls `lock_and_check()` and `reserve()` in one transaction; whoever gives it back calls
`release.py`. Rows of stock are always locked in the order of (sku, location), so that two transactions cannot
deadlock. Orders, packages and reservations are locked before them, each in the order of their ids.

A counter is changed by `move()` and by nothing else, so that each is the sum of its movements.
`oms reconcile` proves it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from peewee import Case, fn

from oms_workers.reservations.models import (
    Meaning,
    MovementKind,
    Reservation,
    ReservationKind,
    Stock,
    StockMovement,
)
from oms_workers.reservations.rises import note_rise
from oms_workers.sets import Arrays, fetch, for_change, one_of

#: Units available now, by sku and location.
Available = dict[str, dict[int, int]]

#: A stock row's key: sku and location's id.
Key = tuple[str, int]

#: A change of stock in units, at (sku, location).
Movement = tuple[str, int, int]

#: Units wanted, by (sku, location): summed over all lines before anything is compared.
Demand = Mapping[Key, int]


class Effect(NamedTuple):
    """With which factors the units of a movement are added to the counters."""

    on_hand: int
    reserved: int


EFFECTS: Mapping[MovementKind, Effect] = {
    MovementKind.RESERVED: Effect(0, 1),
    MovementKind.RELEASED: Effect(0, 1),
    MovementKind.CONSUMED: Effect(1, 1),
    MovementKind.RECEIVED: Effect(1, 0),
    MovementKind.SNAPSHOT: Effect(1, 0),
    MovementKind.RECOUNTED: Effect(0, 1),
    MovementKind.OPENING: Effect(1, 0),
    MovementKind.OPENING_RESERVED: Effect(0, 1),
}

#: Units that come to a shelf from outside, and that packages may wait for.
_ARRIVALS = (MovementKind.RECEIVED, MovementKind.SNAPSHOT)


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


class _After(NamedTuple):
    sku: str
    location_id: int
    on_hand: int
    reserved: int


class NewMovement(NamedTuple):
    """A row of `stock_movements`: its units, and both counters after it."""

    sku: str
    location_id: int
    quantity: int
    on_hand: int
    reserved: int


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


def move(movements: Sequence[Movement], *, kind: MovementKind, reason: str, at: datetime) -> None:
    """Change the counters by these units, as the kind says, and note each change; the rows must be locked."""
    if not movements:
        return
    effect = EFFECTS[kind]
    after = _change_counters(movements, effect)
    if kind in _ARRIVALS:
        note_rise(sku for sku, _, units in movements if units > 0)
    new = []
    # From the last one back, since what is known are the counters after all of them.
    for sku, location_id, units in reversed(movements):
        on_hand, reserved = after[sku, location_id]
        new.append(NewMovement(sku, location_id, units, on_hand, reserved))
        after[sku, location_id] = (on_hand - units * effect.on_hand, reserved - units * effect.reserved)
    note(new[::-1], kind=kind, reason=reason, at=at)


def note(movements: Sequence[NewMovement], *, kind: MovementKind, reason: str, at: datetime) -> None:
    """Add rows for changes that the caller has made, or makes next."""
    StockMovement.insert_set(movements, kind=kind, reason=reason, at=at)


def _change_counters(movements: Sequence[Movement], effect: Effect) -> dict[Key, tuple[int, int]]:
    """Add the units to the counters; returns what is on hand and what is reserved then."""
    deltas: defaultdict[Key, int] = defaultdict(int)
    for sku, location_id, units in movements:
        deltas[sku, location_id] += units
    new = Arrays(
        "new",
        {"sku": Stock.sku, "location_id": Stock.location, "units": Stock.on_hand},
        [(*key, units) for key, units in deltas.items()],
    )
    has_risen = new.c.units * (effect.on_hand - effect.reserved) > 0
    update = Stock.update(
        {
            Stock.on_hand: Stock.on_hand + new.c.units * effect.on_hand,
            Stock.reserved: Stock.reserved + new.c.units * effect.reserved,
            Stock.risen_at: Case(None, [(has_risen, fn.clock_timestamp())], Stock.risen_at),
        }
    )
    changed = update.from_(new).where(new.matches(Stock, "sku", "location_id"))
    returned = changed.returning(Stock.sku, Stock.location, Stock.on_hand, Stock.reserved)
    return {(row.sku, row.location_id): (row.on_hand, row.reserved) for row in fetch(returned, _After)}


def kinds_that_change(counter: str) -> Iterable[MovementKind]:
    """The kinds of movements of which `on_hand`, or `reserved`, is the sum."""
    return [kind for kind, effect in EFFECTS.items() if getattr(effect, counter)]
