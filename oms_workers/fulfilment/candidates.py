"""Packages that wait for another plan and have a chance: found, then claimed with their orders."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import Value

from oms_workers.database import rows
from oms_workers.fulfilment.orders_to_plan import (
    CLAIMED_ORDER,
    CLAIMED_PACKAGE,
    ClaimedOrder,
    ClaimedPackage,
)
from oms_workers.orders.models import REPLANNED_LINE_STATUSES, Order, OrderState
from oms_workers.packages.models import Package, PackageItem, PackageState
from oms_workers.sets import among, column, fetch, for_change, one_of

#: Items that may wait before the search starts from what is available instead.
FEW = 2_000

#: A package of which nothing could be placed is tried again after this time, even if nothing has changed for
#: it. The order's address may be another one, or its prices.
RETRY_ANYWAY = timedelta(hours=6)

#: What was changed a moment before an attempt may have been committed after it.
LONGEST_TRANSACTION = timedelta(minutes=5)

#: Whether another attempt may differ from the last one. More of the package's skus has become available
#: since, or an exclusion has ended, or the rules or the locations have changed. Where a location has a
#: quota, always: each package that leaves frees it.
_MAY_BEAR_FRUIT = """
    fruitless_at IS NULL
    OR fruitless_at < %(now)s - %(anyway)s::interval
    OR fruitless_at - %(margin)s::interval < (SELECT max(changed_at) FROM locations)
    OR fruitless_at - %(margin)s::interval < (SELECT max(changed_at) FROM scenarios)
    OR EXISTS (SELECT FROM locations WHERE active AND quota IS NOT NULL)
    OR EXISTS (
        SELECT FROM package_items AS own
        JOIN stock ON stock.sku = own.sku AND on_hand > reserved + safety
        WHERE own.package_id = packages.id AND risen_at > fruitless_at - %(margin)s::interval
    )
    OR EXISTS (
        SELECT FROM package_items AS own
        JOIN excluded_locations AS excluded USING (order_item_id)
        WHERE own.package_id = packages.id AND excluded.until BETWEEN fruitless_at AND %(now)s
    )
"""

#: From whichever is less: the skus that a few wait for, or those that are available. The indexes
#: package_items_unplanned and stock_available hold no more than these.
# SQL: both are parts of the statement below.
_WAITED_FOR = "SELECT DISTINCT sku FROM package_items WHERE state IN ({states})"
# SQL: likewise.
_AVAILABLE = "SELECT DISTINCT sku FROM stock WHERE on_hand > reserved + safety"

# SQL: likewise, for skus that have just come.
_NAMED = "SELECT DISTINCT unnest(%(skus)s::text[]) AS sku"

# SQL: OFFSET 0 keeps PostgreSQL from turning the search round and reading all that wait.
_CANDIDATES = """
    WITH available AS MATERIALIZED (
        {skus}
    ), waiting AS MATERIALIZED (
        SELECT DISTINCT item.package_id
        FROM available
        CROSS JOIN LATERAL (
            SELECT package_id
            FROM package_items
            JOIN order_items ON order_items.id = order_item_id AND order_items.status = ANY(%(open)s)
            WHERE package_items.sku = available.sku AND package_items.state IN ({states})
            OFFSET 0
        ) AS item
        WHERE EXISTS (
            SELECT FROM stock
            JOIN locations ON locations.id = stock.location_id AND locations.active
            WHERE stock.sku = available.sku AND on_hand > reserved + safety
              AND NOT EXISTS (
                  -- As the planner does: what has rejected a sku of the package has rejected all of it.
                  SELECT FROM excluded_locations AS excluded
                  JOIN package_items AS same USING (order_item_id)
                  WHERE same.package_id = item.package_id AND same.sku = available.sku
                    AND excluded.location_id = stock.location_id
                    AND excluded.until > %(now)s
              )
        )
    )
    SELECT packages.id AS package_id, packages.order_id
    FROM waiting
    JOIN packages ON packages.id = waiting.package_id
    JOIN orders ON orders.id = packages.order_id
    WHERE packages.state IN ({states})
      AND (replanned_at IS NULL OR replanned_at < %(slot)s)
      AND orders.state = %(planned)s
      AND ({may_bear_fruit})
    ORDER BY orders.priority DESC, promised_at, placed_at, packages.id
    LIMIT %(limit)s
"""


class Candidate(NamedTuple):
    """A package that has a chance, and its order."""

    package_id: int
    order_id: int


def find_candidates(
    states: Sequence[PackageState],
    *,
    slot: datetime,
    now: datetime,
    limit: int,
    skus: Sequence[str] | None = None,
) -> list[Candidate]:
    """The packages that have a chance and were not tried since `slot`, the most urgent first.

    They wait for one of `skus`, or for any where that is None.
    """
    listed = ", ".join(str(state.value) for state in states)
    found = _NAMED if skus is not None else _WAITED_FOR if _few_wait(states) else _AVAILABLE
    return rows(
        _CANDIDATES.format(skus=found.format(states=listed), states=listed, may_bear_fruit=_MAY_BEAR_FRUIT),
        {
            "skus": [*(skus or ())],
            "now": now,
            "slot": slot,
            "limit": limit,
            "planned": OrderState.PLANNED.value,
            "open": [status.value for status in REPLANNED_LINE_STATUSES],
            "anyway": RETRY_ANYWAY,
            "margin": LONGEST_TRANSACTION,
        },
        into=Candidate,
    )


def _few_wait(states: Sequence[PackageState]) -> bool:
    waiting = PackageItem.select(Value(1)).where(among(PackageItem.state, states)).limit(FEW + 1)
    return len(column(waiting)) <= FEW


def claim_orders(order_ids: Sequence[int]) -> dict[int, ClaimedOrder]:
    """Lock the planned ones of these orders, skipping those that others work on; by id."""
    found = fetch(for_change(_planned(order_ids), skip_locked=True), ClaimedOrder)
    return {order.id: order for order in found}


def look_at_orders(order_ids: Sequence[int]) -> dict[int, ClaimedOrder]:
    """The planned ones of these orders, not locked; by id."""
    return {order.id: order for order in fetch(_planned(order_ids), ClaimedOrder)}


def _planned(order_ids: Sequence[int]) -> Any:
    query = Order.select(*CLAIMED_ORDER)
    return query.where(one_of(Order.id, order_ids), Order.state == OrderState.PLANNED).order_by(Order.id)


def claim_packages(
    candidates: Sequence[Candidate],
    orders: Sequence[int],
    states: Sequence[PackageState],
    slot: datetime,
) -> list[ClaimedPackage]:
    """Lock the packages of these locked orders that are still to be tried, the most urgent first."""
    return _in_order(candidates, for_change(_untried(candidates, orders, states, slot)))


def look_at_packages(
    candidates: Sequence[Candidate],
    orders: Sequence[int],
    states: Sequence[PackageState],
    slot: datetime,
) -> list[ClaimedPackage]:
    """The packages of these orders that are still to be tried, not locked, the most urgent first."""
    return _in_order(candidates, _untried(candidates, orders, states, slot))


def _untried(
    candidates: Sequence[Candidate],
    orders: Sequence[int],
    states: Sequence[PackageState],
    slot: datetime,
) -> Any:
    return (
        Package.select(*CLAIMED_PACKAGE)
        .where(
            one_of(Package.id, [candidate.package_id for candidate in candidates]),
            one_of(Package.order, orders),
            among(Package.state, states),
            Package.replanned_at.is_null() | (Package.replanned_at < slot),
        )
        .order_by(Package.id)
    )


def _in_order(candidates: Sequence[Candidate], query: Any) -> list[ClaimedPackage]:
    packages = {package.id: package for package in fetch(query, ClaimedPackage)}
    return [packages[each.package_id] for each in candidates if each.package_id in packages]
