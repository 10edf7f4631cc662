"""Discrepancies: units that the counters have on hand, and that a location has reported as missing.

A rejection never changes `on_hand`, which the hub sets. It reserves the missing units, so that they are not
promised to others, until `clear_inventory_discrepancies` clears it, or a count that was made after it.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from peewee import JOIN, DataError, IntegrityError, fn

from oms_workers.database import retry_transient, transaction
from oms_workers.isolation import guarded
from oms_workers.reservations.models import Meaning, MovementKind, Reservation, ReservationKind, Stock
from oms_workers.reservations.release import release_reservations
from oms_workers.reservations.rises import note_rise
from oms_workers.reservations.stock import Key, NewReservation, lock, move, reserve
from oms_workers.scheduling.run import Run
from oms_workers.sets import Arrays, among, fetch, for_change

logger = logging.getLogger(__name__)

#: Reservations that one transaction clears.
BATCH = 500


class _Due(NamedTuple):
    id: int
    sku: str


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
        NewReservation(
            sku,
            location_id,
            units,
            kind=ReservationKind.DISCREPANCY,
            expires_at=at + lifetime,
            meaning=meaning,
        )
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

    One is due when it is older than `minimum_age`, has expired, or is older than a count of its stock.
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
    due: Sequence[_Due] = ()
    try:
        with transaction():
            due = _due(last, now, minimum_age)
            cleared = release_reservations([each.id for each in due], reason=reason, at=now)
            note_rise(each.sku for each in due)
    except (DataError, IntegrityError) as error:
        # A counter is lower than the reservations that it counts; `oms reconcile` shows which.
        logger.warning("Discrepancies cannot be cleared together and are cleared one by one: %s", error)
        problem = "Discrepancy {} cannot be cleared; see `oms reconcile`"
        cleared = sum(guarded(_clear_one, each, now, reason, problem=problem.format(each.id)) for each in due)
    counts["cleared"] += cleared
    return [each.id for each in due]


def _clear_one(discrepancy: _Due, now: datetime, reason: str) -> bool:
    with transaction():
        note_rise([discrepancy.sku])
        return release_reservations([discrepancy.id], reason=reason, at=now) == 1


def _due(last: int, now: datetime, minimum_age: timedelta) -> list[_Due]:
    held = Reservation
    is_over = (held.created_at <= now - minimum_age) | (held.expires_at <= now)
    is_outdated = held.created_at < fn.GREATEST(Stock.counted_at, Stock.snapshot_at)
    # The index reservations_discrepancies holds only what is still to be cleared.
    query = (
        held.select(held.id, held.sku)
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
    return fetch(for_change(query, of=held, skip_locked=True), _Due)


class Discrepancy(NamedTuple):
    """A live discrepancy, whose row is locked."""

    id: int
    sku: str
    location_id: int
    quantity: int
    created_at: datetime
    meaning: Meaning | None

    @property
    def key(self) -> Key:
        return self.sku, self.location_id


def lock_discrepancies(keys: Sequence[Key]) -> list[Discrepancy]:
    """The live discrepancies of this stock, locked; to be called before the stock itself is locked."""
    held = Reservation
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    columns = (held.id, held.sku, held.location, held.quantity, held.created_at, held.meaning)
    query = (
        held.select(*columns)
        .join(wanted, on=wanted.matches(held, "sku", "location_id"))
        .where(among(held.kind, [ReservationKind.DISCREPANCY]), held.released_at.is_null())
        .order_by(held.id)
    )
    return fetch(for_change(query, of=held), Discrepancy)


def heed_counts(
    discrepancies: Sequence[Discrepancy], counted: Mapping[Key, datetime], *, reason: str, at: datetime
) -> None:
    """Let counts that were written just now end what rejections before them have said, and nothing later.

    A count of the time before a rejection brings nothing that could be promised, where the rejection said
    that none is there. The discrepancies and their stock are locked.
    """
    ended = [each for each in discrepancies if each.created_at < counted[each.key]]
    release_reservations([each.id for each in ended], reason=reason, at=at)
    note_rise(each.sku for each in ended)
    denied = {
        each.key: each
        for each in discrepancies
        if each.meaning is Meaning.ALL and each.created_at >= counted[each.key]
    }
    levels = lock(denied)
    grown = [
        (each, units)
        for key, each in sorted(denied.items())
        if (units := levels[key].on_hand - levels[key].reserved) > 0
    ]
    Reservation.update_set([_Grown(each.id, each.quantity + units) for each, units in grown])
    more = [(*each.key, units) for each, units in grown]
    move(more, kind=MovementKind.RESERVED, reason=reason, at=at)


class _Grown(NamedTuple):
    id: int
    quantity: int
