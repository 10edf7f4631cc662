"""Comparing the counters of stock with the reservations that they count, and mending them under the lock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from oms_workers.database import execute, rows, transaction
from oms_workers.reservations.release import release
from oms_workers.reservations.stock import lock, move

REASON = "oms reconcile"

#: Rows that one transaction mends.
BATCH = 500

_LIVE = """
    SELECT sku, location_id, sum(quantity)::int AS units
    FROM reservations
    WHERE released_at IS NULL
    GROUP BY sku, location_id
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


def fix(*, at: datetime) -> dict[str, int]:
    """Release what has no owner, then set each counter to what it counts; returns how many of each."""
    found = {"reservations released": 0, "counters set": 0}
    while lost := ownerless()[:BATCH]:
        with transaction():
            found["reservations released"] += release([one.id for one in lost], reason=REASON, at=at)
    wrong = miscounted()
    for start in range(0, len(wrong), BATCH):
        with transaction():
            found["counters set"] += _recount(wrong[start : start + BATCH], at)
    return found


def _recount(wrong: Sequence[Any], at: datetime) -> int:
    """Count these again under their lock: in the meantime they may have come right by themselves."""
    keys = [(row.sku, row.location_id) for row in wrong]
    execute(
        """
        INSERT INTO stock (sku, location_id, on_hand)
        SELECT sku, location_id, 0
        FROM unnest(%s::text[], %s::bigint[]) AS missing (sku, location_id)
        ORDER BY sku, location_id
        ON CONFLICT DO NOTHING
        """,
        ([sku for sku, _ in keys], [location_id for _, location_id in keys]),
    )
    lock(keys)
    mended = rows(
        f"""
        UPDATE stock
        SET reserved = coalesce(live.units, 0)
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
    move([(row.sku, row.location_id, row.units) for row in mended], kind="recounted", reason=REASON, at=at)
    return len(mended)
