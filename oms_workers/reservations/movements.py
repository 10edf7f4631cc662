"""Movements: each change of a counter of stock, and the counters after it.

A counter is changed by `move()` and by nothing else, so that each is the sum of its movements.
`oms reconcile` proves it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from peewee import Case, fn

from oms_workers.reservations.models import MovementKind, Stock, StockMovement
from oms_workers.reservations.rises import note_rise
from oms_workers.sets import Arrays, among, fetch

K = MovementKind

#: A stock row's key: sku and location's id.
Key = tuple[str, int]

#: A change of stock in units, at (sku, location).
Movement = tuple[str, int, int]


class Effect(NamedTuple):
    """With which factors the units of a movement are added to the counters."""

    on_hand: int
    reserved: int


EFFECTS: Mapping[MovementKind, Effect] = {
    K.RESERVED: Effect(0, 1),
    K.RELEASED: Effect(0, 1),
    K.CONSUMED: Effect(1, 1),
    K.RECEIVED: Effect(1, 0),
    K.SNAPSHOT: Effect(1, 0),
    K.RECOUNTED: Effect(0, 1),
    K.OPENING: Effect(1, 0),
    K.OPENING_RESERVED: Effect(0, 1),
}

#: What we ourselves do to what stands on the shelf.
_OURS = (K.CONSUMED, K.RECEIVED)

#: Units that come to a shelf from outside, and that packages may wait for.
_ARRIVALS = (K.RECEIVED, K.SNAPSHOT)


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


class _Moved(NamedTuple):
    sku: str
    location_id: int
    units: int


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


def moved_since(counted: Mapping[Key, datetime]) -> dict[Key, int]:
    """The units that we have taken from each shelf, or put there, since it was counted; the index
    stock_movements_key."""
    wanted = Arrays(
        "wanted",
        {"sku": Stock.sku, "location_id": Stock.location, "since": StockMovement.at},
        [(*key, since) for key, since in counted.items()],
    )
    units = fn.SUM(StockMovement.quantity).cast("int").alias("units")
    query = (
        StockMovement.select(StockMovement.sku, StockMovement.location_id, units)
        .join(
            wanted,
            on=wanted.matches(StockMovement, "sku", "location_id") & (StockMovement.at > wanted.c.since),
        )
        .where(among(StockMovement.kind, _OURS))
        .group_by(StockMovement.sku, StockMovement.location_id)
    )
    return {(row.sku, row.location_id): row.units for row in fetch(query, _Moved)}


def kinds_that_change(counter: str) -> Iterable[MovementKind]:
    """The kinds of movements of which `on_hand`, or `reserved`, is the sum."""
    return [kind for kind, effect in EFFECTS.items() if getattr(effect, counter)]
