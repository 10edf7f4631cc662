"""Discrepancies: units that the counters promise and a rejection has denied.

A rejection never edits `on_hand`, which is the hub's to say. It reserves what is said not to be there, so
that nothing more is promised from it, until task 6 or a newer snapshot clears it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from oms_workers.database import retry_transient, rows, transaction
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.release import release
from oms_workers.reservations.stock import Key, NewReservation, lock, reserve
from oms_workers.scheduling.run import Run

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
    cleared = 0
    while batch := retry_transient(lambda: _clear_batch(run.now, minimum_age, reason)):
        cleared += batch
        if run.should_stop():
            break
    return {"cleared": cleared}


def _clear_batch(now: datetime, minimum_age: timedelta, reason: str) -> int:
    with transaction():
        return release(_due(now, minimum_age), reason=reason, at=now)


def _due(now: datetime, minimum_age: timedelta) -> Sequence[int]:
    # The index reservations_discrepancies holds only what is still to be cleared.
    found = rows(
        """
        SELECT reservations.id
        FROM reservations
        LEFT JOIN stock USING (sku, location_id)
        WHERE kind = 'discrepancy' AND released_at IS NULL
          AND (created_at <= %(before)s OR expires_at <= %(now)s OR created_at < snapshot_at)
        ORDER BY reservations.id
        LIMIT %(limit)s
        FOR NO KEY UPDATE OF reservations SKIP LOCKED
        """,
        {"before": now - minimum_age, "now": now, "limit": BATCH},
    )
    return [discrepancy.id for discrepancy in found]
