"""Counts of stock: what people counted at some time, and what we have moved since."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from peewee import Case, fn

from oms_workers.reservations.discrepancies import heed_counts, lock_discrepancies
from oms_workers.reservations.models import MovementKind, Stock, StockMovement
from oms_workers.reservations.rises import note_rise
from oms_workers.reservations.stock import Key, Level, add_missing, lock, move
from oms_workers.sets import Arrays, among, fetch

REASON = "oms load"

#: What we ourselves do to what stands on the shelf.
_OURS = (MovementKind.CONSUMED, MovementKind.RECEIVED)


class Count(NamedTuple):
    """What a file says of one stock; None is what it does not say, and a count without a time is of now.

    `is_absent` is a sku that a complete list does not name.
    """

    on_hand: int | None
    safety: int | None
    counted_at: datetime | None
    is_absent: bool = False


class _Last(NamedTuple):
    sku: str
    location_id: int
    counted_at: datetime | None


class _Moved(NamedTuple):
    sku: str
    location_id: int
    units: int


class _Set(NamedTuple):
    sku: str
    location_id: int
    safety: int
    counted_at: datetime | None


def write(
    wanted: Mapping[Key, Count],
    *,
    at: datetime,
    check: Callable[[Mapping[Key, datetime], Mapping[Key, datetime]], None],
) -> dict[Key, datetime]:
    """Write counts and safety, in the caller's transaction; returns what was counted, and when.

    `check` is called with the last count of each stock, under its lock, and with the time until which its
    movements were summed up. It raises for what is older than one of them. What a complete list does not
    name, and is older, stays.
    """
    if not wanted:
        return {}
    keys = sorted(wanted)
    # Reservations are locked before stock.
    discrepancies = lock_discrepancies(keys)
    add_missing(keys)
    before, last = lock(keys), _last_counts(keys)
    counted = {
        key: _time(count, last.get(key), at) for key, count in wanted.items() if count.on_hand is not None
    }
    # First what has moved: what is summed up after this is seen by the next query, and refused.
    since = _moved_since(counted)
    summed = _summed_until(keys)
    check(last, summed)
    for key in [*counted]:
        moment = counted[key]
        is_older = moment < last.get(key, moment) or moment < summed.get(key, moment)
        if wanted[key].is_absent and is_older:
            del counted[key]
    new = [_row(key, wanted[key], before[key], counted.get(key)) for key in keys]
    _set(new)
    note_rise(row.sku for row in new if row.safety < before[row.sku, row.location_id].safety)
    moved = [
        (*key, (wanted[key].on_hand or 0) + since.get(key, 0) - before[key].on_hand)
        for key in sorted(counted)
    ]
    changed = [movement for movement in moved if movement[2]]
    move(changed, kind=MovementKind.SNAPSHOT, reason=REASON, at=at)
    told = [each for each in discrepancies if each.key in counted]
    heed_counts(told, counted, reason=REASON, at=at)
    return counted


def _time(count: Count, last: datetime | None, at: datetime) -> datetime:
    """When it was counted: without a time just now, which is after all counts that are committed."""
    return count.counted_at or (at if last is None else max(at, last))


def _summed_until(keys: list[Key]) -> dict[Key, datetime]:
    """Until when our own movements were summed up: what of them came after an older count is not known."""
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    moved = StockMovement
    query = (
        moved.select(moved.sku, moved.location_id, fn.MAX(moved.at).alias("counted_at"))
        .join(wanted, on=wanted.matches(moved, "sku", "location_id"))
        .where(among(moved.kind, _OURS), ~moved.summed_rows.is_null())
        .group_by(moved.sku, moved.location_id)
    )
    return {(row.sku, row.location_id): row.counted_at for row in fetch(query, _Last) if row.counted_at}


def _last_counts(keys: list[Key]) -> dict[Key, datetime]:
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    # The previous release, beside which we run in a deploy, writes only the second.
    last = fn.GREATEST(Stock.counted_at, Stock.snapshot_at).alias("counted_at")
    query = Stock.select(Stock.sku, Stock.location, last).join(
        wanted, on=wanted.matches(Stock, "sku", "location_id")
    )
    return {(row.sku, row.location_id): row.counted_at for row in fetch(query, _Last) if row.counted_at}


def _moved_since(counted: Mapping[Key, datetime]) -> dict[Key, int]:
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


def _row(key: Key, count: Count, before: Level, counted_at: datetime | None) -> _Set:
    return _Set(*key, before.safety if count.safety is None else count.safety, counted_at)


def _set(rows: list[_Set]) -> None:
    """Only a count is one; a file that gives only the safety has counted nothing."""
    new = Arrays.of(Stock, rows)
    counted_at = fn.COALESCE(new.c.counted_at, Stock.counted_at)
    has_risen = new.c.safety < Stock.safety
    Stock.update(
        {
            Stock.safety: new.c.safety,
            Stock.counted_at: counted_at,
            Stock.snapshot_at: fn.COALESCE(new.c.counted_at, Stock.snapshot_at),
            Stock.risen_at: Case(None, [(has_risen, fn.clock_timestamp())], Stock.risen_at),
        }
    ).from_(new).where(new.matches(Stock, "sku", "location_id")).execute()
