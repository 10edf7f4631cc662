"""Discrepancies: units that the counters have on hand, and that a location has reported as missing.

A rejection never changes `on_hand`, which the hub sets. It reserves the missing units, so that they are not
promised to others, until `clear_inventory_discrepancies` or a newer snapshot clears it.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from peewee import JOIN, DataError, IntegrityError

from oms_workers.database import retry_transient, transaction
from oms_workers.isolation import guarded
from oms_workers.reservations.models import Reservation, ReservationKind, Stock
from oms_workers.reservations.release import release_reservations
from oms_workers.reservations.stock import Key, NewReservation, lock, reserve
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, column, for_change

logger = logging.getLogger(__name__)

#: Reservations that one transaction clears.
BATCH = 500


class Meaning(StrEnum):
    """What a rejection says about the stock of a sku at its location."""

    NOTHING = "nothing"
    QUANTITY = "quantity"
    ALL = "all"


def block(
    rejected: Mapping[Key, int], meaning: Meaning, *, reason: str, at: datetime, lifetime: timedelta
) -> int:
    """Reserve the units that a rejection says are missing; returns how many there are.

    The rejected units themselves must have been released before, in the same transaction. `ALL` means all
    units that nobody has reserved, `max(0, on_hand - reserved)`, read under the lock.
    """
    if meaning is Meaning.NOTHING:
        return 0
    levels = lock(rejected)
    blocked = [
        NewReservation(sku, location_id, units, kind=ReservationKind.DISCREPANCY, expires_at=at + lifetime)
        for (sku, location_id), rejected_units in sorted(rejected.items())
        if (sku, location_id) in levels
        and (
            units := max(0, levels[sku, location_id].on_hand - levels[sku, location_id].reserved)
            if meaning is Meaning.ALL
            else rejected_units
        )
    ]
    reserve(blocked, reason=reason, at=at)
    return sum(new.quantity for new in blocked)


def clear(run: Run, *, minimum_age: timedelta, reason: str) -> dict[str, int]:
    """Release the discrepancies that are due, a batch in a transaction; returns how many were cleared.

    One is due when it is older than `minimum_age`, has expired, or is older than a snapshot of its stock.
    """
    counts = {"cleared": 0}
    last = 0
    while due := retry_transient(partial(_clear_batch, last, run.now, minimum_age, reason, counts)):
        last = due[-1]
        if run.should_stop():
            break
    return counts


def _clear_batch(
    last: int, now: datetime, minimum_age: timedelta, reason: str, counts: dict[str, int]
) -> Sequence[int]:
    """Release the next ones after `last`; one by one where they cannot be together. Returns their ids."""
    due: Sequence[int] = ()
    try:
        with transaction():
            due = _due(last, now, minimum_age)
            cleared = release_reservations(due, reason=reason, at=now)
    except (DataError, IntegrityError) as error:
        # A counter is lower than the reservations that it counts; `oms reconcile` shows which.
        logger.warning("Discrepancies cannot be cleared together and are cleared one by one: %s", error)
        problem = "Discrepancy {} cannot be cleared; see `oms reconcile`"
        cleared = sum(guarded(_clear_one, each, now, reason, problem=problem.format(each)) for each in due)
    counts["cleared"] += cleared
    return due


def _clear_one(discrepancy: int, now: datetime, reason: str) -> bool:
    with transaction():
        return release_reservations([discrepancy], reason=reason, at=now) == 1


def _due(last: int, now: datetime, minimum_age: timedelta) -> Sequence[int]:
    held = Reservation
    is_over = (held.created_at <= now - minimum_age) | (held.expires_at <= now)
    is_outdated = held.created_at < Stock.snapshot_at
    # The index reservations_discrepancies holds only what is still to be cleared.
    query = (
        held.select(held.id)
        .join(Stock, JOIN.LEFT_OUTER, on=(Stock.sku == held.sku) & (Stock.location == held.location))
        .where(
            among(held.kind, [ReservationKind.DISCREPANCY]),
            held.released_at.is_null(),
            held.id > last,
            is_over | is_outdated,
        )
        .order_by(held.id)
        .limit(BATCH)
    )
    return column(for_change(query, of=held, skip_locked=True))
