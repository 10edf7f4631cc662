"""Counters of stock held against the reservations that they count, and those against what they are for.

That a counter is the sum of its movements is proved in `reservations/proof.py`, and mended here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import JOIN, SQL, Value, fn

from oms_workers.database import retry_transient, transaction
from oms_workers.packages.locked import lock_package_by_id
from oms_workers.packages.models import (
    ENDED_TRANSFERS,
    OPEN_STATES,
    TRANSFERS_AT_SOURCE,
    Package,
    PackageItem,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.reservations.models import MovementKind, Reservation, ReservationKind, Stock
from oms_workers.reservations.proof import sums_of, unproven
from oms_workers.reservations.release import release_reservations
from oms_workers.reservations.stock import Key, NewMovement, NewReservation, add_missing, lock, note, reserve
from oms_workers.sets import Arrays, among, column, fetch, for_change, not_among, one_of

REASON = "oms reconcile"

#: Rows that one transaction mends.
BATCH = 500

#: States in which a package holds stock; one that is blocked is what it was before.
HOLDING = (*OPEN_STATES, PackageState.BLOCKED)

_NONE = Value(None).cast("bigint")


class Miscount(NamedTuple):
    """Stock whose `reserved` is not the sum of its live reservations; `counter` is None without a row."""

    sku: str
    location_id: int
    counter: int | None
    live: int


class Ownerless(NamedTuple):
    """A live reservation whose package or transfer holds nothing any more."""

    id: int
    sku: str
    location_id: int
    quantity: int
    owner: str
    state: PackageState | TransferState


class Uncovered(NamedTuple):
    """An item of a package or a transfer that holds less or more than it has to, or holds it elsewhere."""

    package_item_id: int | None
    transfer_item_id: int | None
    package_id: int
    owner: str
    sku: str
    location_id: int
    wanted: int
    held: int


class _Count(NamedTuple):
    sku: str
    location_id: int
    units: int


class _Wrong(NamedTuple):
    id: int
    sku: str
    location_id: int


class _Recount(NamedTuple):
    sku: str
    location_id: int
    on_hand: int
    reserved: int


def miscounted() -> list[Miscount]:
    """Stock whose counter is not what it counts, with both numbers."""
    live = _live_units().alias("live")
    units = fn.COALESCE(live.c.units, 0)
    # A reservation without a row of stock is found too: it is counted nowhere.
    query = (
        Stock.select(
            fn.COALESCE(Stock.sku, live.c.sku).alias("sku"),
            fn.COALESCE(Stock.location, live.c.location_id).alias("location_id"),
            Stock.reserved.alias("counter"),
            units.alias("live"),
        )
        .join(live, JOIN.FULL, on=(Stock.sku == live.c.sku) & (Stock.location == live.c.location_id))
        .where(fn.COALESCE(Stock.reserved, -1) != units)
    )
    return sorted(fetch(query, Miscount), key=lambda found: (found.sku, found.location_id))


def ownerless() -> list[Ownerless]:
    """Live reservations of what holds nothing any more: packed, superseded, cancelled."""
    live = (Reservation.id, Reservation.sku, Reservation.location, Reservation.quantity)
    of_packages = (
        Reservation.select(*live, Package.number.alias("owner"), Package.state)
        .join(PackageItem, on=PackageItem.id == Reservation.package_item_id)
        .join(Package)
        .where(Reservation.released_at.is_null(), not_among(Package.state, HOLDING))
    )
    of_transfers = (
        Reservation.select(*live, TransferOrder.number.alias("owner"), TransferOrder.state)
        .join(TransferItem, on=TransferItem.id == Reservation.transfer_item_id)
        .join(TransferOrder)
        .where(Reservation.released_at.is_null(), not_among(TransferOrder.state, TRANSFERS_AT_SOURCE))
    )
    found = fetch(of_packages, Ownerless) + fetch(of_transfers, Ownerless)
    return sorted(found, key=lambda lost: lost.id)


def uncovered(package_ids: Sequence[int] | None = None) -> list[Uncovered]:
    """Items, of these packages or of all, that do not hold what they need."""
    of_packages, of_transfers = _uncovered_of_packages(), _uncovered_of_transfers()
    if package_ids is not None:
        of_packages = of_packages.where(one_of(Package.id, package_ids))
        of_transfers = of_transfers.where(one_of(TransferOrder.package, package_ids))
    found = fetch(of_packages, Uncovered) + fetch(of_transfers, Uncovered)
    return sorted(found, key=lambda item: (item.package_id, item.package_item_id or 0, item[1] or 0))


def _uncovered_of_packages() -> Any:
    """An item has to hold all of its units, without what transfers that have not ended still bring."""
    coming = (
        TransferItem.select(fn.COALESCE(fn.SUM(TransferItem.quantity), 0))
        .join(TransferOrder)
        .where(TransferItem.package_item == PackageItem.id, not_among(TransferOrder.state, ENDED_TRANSFERS))
    )
    wanted = (PackageItem.quantity - coming).cast("int")
    held = _held(Reservation.package_item_id == PackageItem.id, PackageItem.sku, Package.location)
    return (
        PackageItem.select(
            PackageItem.id.alias("package_item_id"),
            _NONE.alias("transfer_item_id"),
            Package.id.alias("package_id"),
            Package.number.alias("owner"),
            PackageItem.sku,
            Package.location,
            wanted.alias("wanted"),
            fn.COALESCE(held.c.units, 0).alias("held"),
        )
        .join(Package)
        .join_from(PackageItem, held, JOIN.LEFT_LATERAL, on=True)
        .where(among(Package.state, HOLDING), _differs(held, wanted))
    )


def _uncovered_of_transfers() -> Any:
    """An item of a transfer that has not left its source has to hold its units there."""
    held = _held(Reservation.transfer_item_id == TransferItem.id, TransferItem.sku, TransferOrder.source)
    return (
        TransferItem.select(
            _NONE.alias("package_item_id"),
            TransferItem.id.alias("transfer_item_id"),
            TransferOrder.package.alias("package_id"),
            TransferOrder.number.alias("owner"),
            TransferItem.sku,
            TransferOrder.source.alias("location_id"),
            TransferItem.quantity.alias("wanted"),
            fn.COALESCE(held.c.units, 0).alias("held"),
        )
        .join(TransferOrder)
        .join_from(TransferItem, held, JOIN.LEFT_LATERAL, on=True)
        .where(among(TransferOrder.state, TRANSFERS_AT_SOURCE), _differs(held, TransferItem.quantity))
    )


def _held(of: Any, sku: Any, location: Any) -> Any:
    """What an item holds, and whether all of it is the right sku at the right location."""
    is_there = fn.BOOL_AND((Reservation.sku == sku) & (Reservation.location == location))
    units = fn.SUM(Reservation.quantity).cast("int")
    query = Reservation.select(units.alias("units"), is_there.alias("is_there"))
    return query.where(Reservation.released_at.is_null(), of).alias("held")


def _differs(held: Any, wanted: Any) -> Any:
    is_elsewhere = ~fn.COALESCE(held.c.is_there, SQL("true"))
    return (fn.COALESCE(held.c.units, 0) != wanted) | is_elsewhere


def fix(*, at: datetime) -> dict[str, int]:
    """Set each counter to its sum, release what has no owner, and reserve what is not held.

    What a package needs is reserved whether it is there or not: its people may have it in their hands. Where
    it is not there, that is a shortfall. Returns how many there were of each.
    """
    # First the counters: one that is too low would not let a reservation go.
    found = {"counters set": _recount_all(at), "reservations released": 0, "items covered": 0}
    while lost := ownerless()[:BATCH]:
        found["reservations released"] += _in_transaction(_release, [one.id for one in lost], at)
    for package_id in sorted({one.package_id for one in uncovered()}):
        found["items covered"] += _in_transaction(_cover, package_id, at)
    return found


def _in_transaction(work: Callable[..., int], *arguments: object) -> int:
    def attempt() -> int:
        with transaction():
            return work(*arguments)

    return retry_transient(attempt)


def _recount_all(at: datetime) -> int:
    counted = {(wrong.sku, wrong.location_id) for wrong in miscounted()}
    keys = sorted(counted | {(wrong.sku, wrong.location_id) for wrong in unproven()})
    batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
    return sum(_in_transaction(_recount, batch, at) for batch in batches)


def _recount(keys: Sequence[Key], at: datetime) -> int:
    """Count these again under their lock: in the meantime they may have come right by themselves.

    `reserved` becomes the sum of the live reservations, and `on_hand` that of the movements. The movement
    that is noted brings the movements of `reserved` to the same sum; its units may be 0.
    """
    add_missing(keys)
    lock(keys)
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    counted = _live_units().join_from(
        Reservation, wanted, on=wanted.matches(Reservation, "sku", "location_id")
    )
    live = {(count.sku, count.location_id): count.units for count in fetch(counted, _Count)}
    noted = [
        NewMovement(*key, units - found.moved_reserved, found.moved_on_hand, units)
        for key, found in sorted(sums_of(keys).items())
        for units in [live.get(key, 0)]
        if (found.on_hand, found.reserved, found.moved_reserved) != (found.moved_on_hand, units, units)
    ]
    right = [_Recount(row.sku, row.location_id, row.on_hand, row.reserved) for row in noted]
    Stock.update_set(right, key=("sku", "location_id"), risen_at=fn.clock_timestamp())
    note(noted, kind=MovementKind.RECOUNTED, reason=REASON, at=at)
    return len(noted)


def _release(reservation_ids: Sequence[int], at: datetime) -> int:
    return release_reservations(reservation_ids, reason=REASON, at=at)


def _cover(package_id: int, at: datetime) -> int:
    """Let the items of one package and its transfers hold what they need, seen again under their locks."""
    lock_package_by_id(package_id)
    transfers = TransferOrder.select(TransferOrder.id).where(TransferOrder.package == package_id)
    column(for_change(transfers.order_by(TransferOrder.id)))
    wrong = uncovered([package_id])
    of_packages = [one.package_item_id for one in wrong if one.package_item_id]
    of_transfers = [one.transfer_item_id for one in wrong if one.transfer_item_id]
    held = Reservation.select(Reservation.id, Reservation.sku, Reservation.location).where(
        Reservation.released_at.is_null(),
        one_of(Reservation.package_item_id, of_packages) | one_of(Reservation.transfer_item_id, of_transfers),
    )
    wrongly = fetch(for_change(held.order_by(Reservation.id)), _Wrong)
    new = [_reservation(one) for one in wrong if one.wanted > 0]
    # What is released and what is reserved, in one go: stock is locked in one order.
    keys: set[Key] = {(one.sku, one.location_id) for one in wrongly}
    keys |= {(one.sku, one.location_id) for one in new}
    add_missing(keys)
    lock(keys)
    _release([each.id for each in wrongly], at)
    reserve(new, reason=REASON, at=at)
    return len(wrong)


def _reservation(one: Uncovered) -> NewReservation:
    kind = ReservationKind.TRANSFER if one.transfer_item_id else ReservationKind.PACKAGE
    owner = (one.package_item_id, one.transfer_item_id)
    return NewReservation(one.sku, one.location_id, one.wanted, *owner, kind)


def _live_units() -> Any:
    """The units of live reservations, by sku and location."""
    units = fn.SUM(Reservation.quantity).cast("int").alias("units")
    return (
        Reservation.select(Reservation.sku, Reservation.location, units)
        .where(Reservation.released_at.is_null())
        .group_by(Reservation.sku, Reservation.location)
    )
