"""Counters of stock held against the reservations that they count, and those against what they are for."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from oms_workers.database import retry_transient, rows, transaction
from oms_workers.fulfilment.commands.registry import lock_package_by_id
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.release import release_reservations
from oms_workers.reservations.stock import NewReservation, add_missing, lock, note_movements, reserve

REASON = "oms reconcile"

#: Rows that one transaction mends.
BATCH = 500

_LIVE = """
    SELECT sku, location_id, sum(quantity)::int AS units
    FROM reservations
    WHERE released_at IS NULL
    GROUP BY sku, location_id
"""

#: What each item of a package that is at its location has to hold there: all of it, without what transfers
#: that have not ended still bring. A package that is blocked is what it was before.
_WANTED_BY_PACKAGES = """
    SELECT package_items.id AS package_item_id, NULL::bigint AS transfer_item_id, packages.id AS package_id,
           packages.number AS owner, package_items.sku, packages.location_id,
           package_items.quantity - coalesce((
               SELECT sum(transfer_items.quantity)
               FROM transfer_items
               JOIN transfer_orders AS coming ON coming.id = transfer_id AND coming.state NOT IN (400, 1000)
               WHERE transfer_items.package_item_id = package_items.id
           ), 0) AS wanted
    FROM packages
    JOIN package_items ON package_items.package_id = packages.id
    WHERE packages.state IN (100, 150, 200, 300, 400)
"""

#: What each item of a transfer that has not left its source has to hold there.
_WANTED_BY_TRANSFERS = """
    SELECT NULL::bigint, transfer_items.id, transfer_orders.package_id, transfer_orders.number,
           transfer_items.sku, transfer_orders.source_id, transfer_items.quantity
    FROM transfer_orders
    JOIN transfer_items ON transfer_items.transfer_id = transfer_orders.id
    WHERE transfer_orders.state IN (100, 200)
"""


def miscounted() -> list[Any]:
    """Stock whose `reserved` is not the sum of its live reservations, with both numbers."""
    # A reservation without a row of stock is found too: it is counted nowhere.
    return rows(
        f"""
        SELECT sku, location_id, stock.reserved AS counter, coalesce(live.units, 0) AS live
        FROM stock
        FULL JOIN ({_LIVE}) AS live USING (sku, location_id)
        WHERE coalesce(stock.reserved, -1) <> coalesce(live.units, 0)
        ORDER BY sku COLLATE "C", location_id
        """
    )


def ownerless() -> list[Any]:
    """Live reservations whose package or transfer holds nothing any more: packed, superseded, cancelled."""
    return rows(
        """
        SELECT reservations.id, reservations.sku, reservations.location_id, reservations.quantity,
               packages.number AS owner, packages.state
        FROM reservations
        JOIN package_items ON package_items.id = package_item_id
        JOIN packages ON packages.id = package_items.package_id
        WHERE released_at IS NULL AND packages.state >= 450
        UNION ALL
        SELECT reservations.id, reservations.sku, reservations.location_id, reservations.quantity,
               transfer_orders.number, transfer_orders.state
        FROM reservations
        JOIN transfer_items ON transfer_items.id = transfer_item_id
        JOIN transfer_orders ON transfer_orders.id = transfer_id
        WHERE released_at IS NULL AND transfer_orders.state >= 300
        ORDER BY id
        """
    )


def uncovered(package_ids: Sequence[int] | None = None) -> list[Any]:
    """Items of packages and transfers that hold less or more than they have to, or hold it elsewhere."""
    return rows(
        f"""
        SELECT wanted.*, coalesce(held.units, 0) AS held
        FROM ({_WANTED_BY_PACKAGES} UNION ALL {_WANTED_BY_TRANSFERS}) AS wanted
        LEFT JOIN LATERAL (
            SELECT sum(quantity)::int AS units,
                   bool_and(sku = wanted.sku AND location_id = wanted.location_id) AS is_there
            FROM reservations
            WHERE released_at IS NULL
              AND (reservations.package_item_id = wanted.package_item_id
                   OR reservations.transfer_item_id = wanted.transfer_item_id)
        ) AS held ON true
        WHERE (coalesce(held.units, 0) <> wanted OR NOT coalesce(is_there, true))
          AND (%(packages)s::bigint[] IS NULL OR package_id = ANY(%(packages)s))
        ORDER BY package_id, package_item_id, transfer_item_id
        """,
        {"packages": None if package_ids is None else [*package_ids]},
    )


def fix(*, at: datetime) -> dict[str, int]:
    """Set each counter to what it counts, release what has no owner, and reserve what is not held.

    What a package needs is reserved whether it is there or not: its people may have it in their hands. Where
    it is not, that is a shortfall, which task 3 relieves. Returns how many there were of each.
    """
    # First the counters: one that is too low would not let a reservation go.
    found = {"counters set": _recount_all(at), "reservations released": 0, "items covered": 0}
    while lost := ownerless()[:BATCH]:
        found["reservations released"] += _do(
            lambda: release_reservations([one.id for one in lost], reason=REASON, at=at)
        )
    for package_id in sorted({one.package_id for one in uncovered()}):
        found["items covered"] += _do(lambda: _cover(package_id, at))  # noqa: B023
    return found


def _do(work: Callable[[], int]) -> int:
    def in_transaction() -> int:
        with transaction():
            return work()

    return retry_transient(in_transaction)


def _recount_all(at: datetime) -> int:
    wrong = miscounted()
    batches = [wrong[start : start + BATCH] for start in range(0, len(wrong), BATCH)]
    return sum(_do(lambda: _recount(batch, at)) for batch in batches)  # noqa: B023


def _cover(package_id: int, at: datetime) -> int:
    """Let the items of one package and its transfers hold what they have to, seen again under their locks."""
    lock_package_by_id(package_id)
    rows("SELECT id FROM transfer_orders WHERE package_id = %s ORDER BY id FOR NO KEY UPDATE", (package_id,))
    wrong = uncovered([package_id])
    held = rows(
        """
        SELECT id
        FROM reservations
        WHERE released_at IS NULL AND (package_item_id = ANY(%s) OR transfer_item_id = ANY(%s))
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        (
            [one.package_item_id for one in wrong if one.package_item_id],
            [one.transfer_item_id for one in wrong if one.transfer_item_id],
        ),
    )
    release_reservations([reservation.id for reservation in held], reason=REASON, at=at)
    new = [
        NewReservation(
            one.sku,
            one.location_id,
            one.wanted,
            one.package_item_id,
            one.transfer_item_id,
            ReservationKind.TRANSFER if one.transfer_item_id else ReservationKind.PACKAGE,
        )
        for one in wrong
        if one.wanted > 0
    ]
    add_missing([(each.sku, each.location_id) for each in new])
    lock({(each.sku, each.location_id) for each in new})
    reserve(new, reason=REASON, at=at)
    return len(wrong)


def _recount(wrong: Sequence[Any], at: datetime) -> int:
    """Count these again under their lock: in the meantime they may have come right by themselves."""
    keys = [(row.sku, row.location_id) for row in wrong]
    add_missing(keys)
    lock(keys)
    mended = rows(
        f"""
        UPDATE stock
        SET reserved = coalesce(live.units, 0), risen_at = clock_timestamp()
        FROM unnest(%s::text[], %s::bigint[]) AS wrong (sku, location_id)
        LEFT JOIN ({_LIVE}) AS live
          ON live.sku = wrong.sku COLLATE "C" AND live.location_id = wrong.location_id
        JOIN stock AS before
          ON before.sku = wrong.sku COLLATE "C" AND before.location_id = wrong.location_id
        WHERE stock.sku = before.sku AND stock.location_id = before.location_id
          AND before.reserved <> coalesce(live.units, 0)
        RETURNING stock.sku, stock.location_id, stock.reserved - before.reserved AS units
        """,
        ([sku for sku, _ in keys], [location_id for _, location_id in keys]),
    )
    note_movements(
        [(row.sku, row.location_id, row.units) for row in mended], kind="recounted", reason=REASON, at=at
    )
    return len(mended)
