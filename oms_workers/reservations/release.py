"""The end of reservations: their stock is given back, or used up.

Each function starts from the reservations' own rows. Only those that are still live are ended and counted, so
that a repeated call changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.reservations.models import MovementKind, Reservation
from oms_workers.reservations.stock import Movement, add_missing, lock, move
from oms_workers.sets import column, fetch, for_change, one_of


class _Live(NamedTuple):
    id: int
    sku: str
    location_id: int
    quantity: int


def of_package_items(package_item_ids: Sequence[int]) -> list[int]:
    """The live reservations of these items of packages, by id, locked."""
    # The index reservations_package_item.
    return _lock_live(Reservation.package_item_id, package_item_ids)


def of_transfer_items(transfer_item_ids: Sequence[int]) -> list[int]:
    """The live reservations of these items of transfers, by id, locked."""
    # The index reservations_transfer_item.
    return _lock_live(Reservation.transfer_item_id, transfer_item_ids)


def _lock_live(owner: Any, owner_ids: Sequence[int]) -> list[int]:
    live = Reservation.select(Reservation.id).where(
        one_of(owner, owner_ids), Reservation.released_at.is_null()
    )
    return column(for_change(live.order_by(Reservation.id)))


class _OfItem(NamedTuple):
    package_item_id: int
    units: int


def units_of_items(reservation_ids: Sequence[int]) -> dict[int, int]:
    """The units that these reservations hold, by item of a package."""
    held = Reservation
    query = held.select(held.package_item_id, fn.SUM(held.quantity).cast("int").alias("units"))
    query = query.where(one_of(held.id, reservation_ids), ~held.package_item_id.is_null())
    return dict(fetch(query.group_by(held.package_item_id), _OfItem))


def release_reservations(reservation_ids: Sequence[int], *, reason: str, at: datetime) -> int:
    """Give the stock back; returns how many of the reservations were still live."""
    ended = _end(reservation_ids, at)
    if ended:
        move(_negative(ended), kind=MovementKind.RELEASED, reason=reason, at=at)
    return len(ended)


def consume(reservation_ids: Sequence[int], *, reason: str, at: datetime) -> int:
    """Take the units out of the location: they are neither reserved nor on hand any more."""
    ended = _end(reservation_ids, at)
    if ended:
        move(_negative(ended), kind=MovementKind.CONSUMED, reason=reason, at=at)
    return len(ended)


def receive(arrived: Sequence[Movement], *, reason: str, at: datetime) -> None:
    """Add units that have come to a location to what is on hand there."""
    keys = {(sku, location_id) for sku, location_id, _ in arrived}
    add_missing(keys)
    lock(keys)
    move(arrived, kind=MovementKind.RECEIVED, reason=reason, at=at)


def _end(reservation_ids: Sequence[int], at: datetime) -> list[Movement]:
    """Mark the live reservations as released, and lock their stock; returns the units that they held."""
    held = Reservation
    query = held.select(held.id, held.sku, held.location, held.quantity)
    of_these = query.where(one_of(held.id, reservation_ids), held.released_at.is_null())
    live = fetch(for_change(of_these.order_by(held.id)), _Live)
    if not live:
        return []
    lock({(each.sku, each.location_id) for each in live})
    ids = [each.id for each in live]
    held.update({held.released_at: at}).where(one_of(held.id, ids)).execute()
    return [(each.sku, each.location_id, each.quantity) for each in live]


def _negative(movements: Sequence[Movement]) -> list[Movement]:
    return [(sku, location_id, -units) for sku, location_id, units in movements]
