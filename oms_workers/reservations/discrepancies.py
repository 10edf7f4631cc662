"""Discrepancies: units that the counters promise and a rejection has denied.

A rejection never edits `on_hand`, which is the hub's to say. It reserves what is said not to be there, so
that nothing more is promised from it, until task 6 or a newer snapshot clears it.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from peewee import DataError, IntegrityError

from oms_workers.database import retry_transient, rows, transaction
from oms_workers.isolation import guarded
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.release import release_reservations
from oms_workers.reservations.stock import Key, NewReservation, lock, reserve
from oms_workers.scheduling.run import Run

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
    """Reserve what the rejection says is not there; returns the units blocked.

    The rejected units themselves must have been released before, in the same transaction. `ALL` is whatever
    nobody else holds: `max(0, on_hand - reserved)`, read under the lock.
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
    """Release the discrepancies that have had their time, a batch in a transaction.

    Those are: older than `minimum_age`, expired, or made before a newer snapshot of the same stock.
    """
    counts = {"cleared": 0}
    last = 0
    while due := retry_transient(lambda: _clear_batch(last, run.now, minimum_age, reason, counts)):  # noqa: B023
        last = due[-1]
        if run.should_stop():
            break
    return counts


def _clear_batch(
    last: int, now: datetime, minimum_age: timedelta, reason: str, counts: dict[str, int]
) -> Sequence[int]:
    """Release the next ones after `last`, one by one where together they cannot be; returns their ids."""
    due: Sequence[int] = ()
    try:
        with transaction():
            due = _due(last, now, minimum_age)
            cleared = release_reservations(due, reason=reason, at=now)
    except (DataError, IntegrityError) as error:
        # A counter that has drifted below what it counts, of which `oms reconcile` tells more.
        logger.warning("Discrepancies cannot be cleared together and are cleared one by one: %s", error)
        problem = "Discrepancy {} cannot be cleared; see `oms reconcile`"
        cleared = sum(guarded(_clear_one, each, now, reason, problem=problem.format(each)) for each in due)
    counts["cleared"] += cleared
    return due


def _clear_one(discrepancy: int, now: datetime, reason: str) -> bool:
    with transaction():
        return release_reservations([discrepancy], reason=reason, at=now) == 1


def _due(last: int, now: datetime, minimum_age: timedelta) -> Sequence[int]:
    # The index reservations_discrepancies holds only what is still to be cleared.
    found = rows(
        """
        SELECT reservations.id
        FROM reservations
        LEFT JOIN stock USING (sku, location_id)
        WHERE kind = 'discrepancy' AND released_at IS NULL AND reservations.id > %(last)s
          AND (created_at <= %(before)s OR expires_at <= %(now)s OR created_at < snapshot_at)
        ORDER BY reservations.id
        LIMIT %(limit)s
        FOR NO KEY UPDATE OF reservations SKIP LOCKED
        """,
        {"last": last, "before": now - minimum_age, "now": now, "limit": BATCH},
    )
    return [discrepancy.id for discrepancy in found]
