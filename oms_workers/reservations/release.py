"""Giving reservations back, or using them up; always by the reservation's own row.

`released_at` is set where it was null, and only what was changed is counted: done twice, it changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from oms_workers.database import execute, rows
from oms_workers.reservations.stock import Movement, add_missing, change_counters, lock, note_movements


def of_package_items(package_item_ids: Sequence[int]) -> list[int]:
    """The live reservations of these items of packages, by id, locked."""
    return _lock_live("package_item_id", package_item_ids)


def of_transfer_items(transfer_item_ids: Sequence[int]) -> list[int]:
    """The live reservations of these items of transfers, by id, locked."""
    return _lock_live("transfer_item_id", transfer_item_ids)


def _lock_live(column: str, ids: Sequence[int]) -> list[int]:
    # The indexes reservations_package_item and reservations_transfer_item.
    found = rows(
        f"""
        SELECT id
        FROM reservations
        WHERE {column} = ANY(%s) AND released_at IS NULL
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        ([*ids],),
    )
    return [reservation.id for reservation in found]


def release_reservations(reservation_ids: Sequence[int], *, reason: str, at: datetime) -> int:
    """Give the stock back; returns how many of the reservations were still live."""
    ended = _end(reservation_ids, at)
    if ended:
        change_counters(ended, reserved=-1)
        note_movements(_negative(ended), kind="released", reason=reason, at=at)
    return len(ended)


def consume(reservation_ids: Sequence[int], *, reason: str, at: datetime) -> int:
    """The units leave the location: they are neither reserved nor on hand any more."""
    ended = _end(reservation_ids, at)
    if ended:
        change_counters(ended, reserved=-1, on_hand=-1)
        note_movements(_negative(ended), kind="consumed", reason=reason, at=at)
    return len(ended)


def receive(arrived: Sequence[Movement], *, reason: str, at: datetime) -> None:
    """Units come to a location and are on hand."""
    keys = {(sku, location_id) for sku, location_id, _ in arrived}
    add_missing(keys)
    lock(keys)
    change_counters(arrived, on_hand=1)
    note_movements(arrived, kind="received", reason=reason, at=at)


def _end(reservation_ids: Sequence[int], at: datetime) -> list[Movement]:
    """Mark the live ones as released, with their stock locked; what they held, in units."""
    live: list[Any] = rows(
        """
        SELECT id, sku, location_id, quantity
        FROM reservations
        WHERE id = ANY(%s) AND released_at IS NULL
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        ([*reservation_ids],),
    )
    if not live:
        return []
    lock({(found.sku, found.location_id) for found in live})
    execute("UPDATE reservations SET released_at = %s WHERE id = ANY(%s)", (at, [found.id for found in live]))
    return [(found.sku, found.location_id, found.quantity) for found in live]


def _negative(movements: Sequence[Movement]) -> list[Movement]:
    return [(sku, location_id, -units) for sku, location_id, units in movements]
