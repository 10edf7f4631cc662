"""Packages that wait for another plan: which are worth it, claimed, and read as orders to plan."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from oms_workers.database import row, rows
from oms_workers.fulfilment.models import PackageState
from oms_workers.fulfilment.planning.plans import Line, OrderToPlan
from oms_workers.orders.models import CLOSED_LINE_STATUSES

#: Items that may wait before the search starts from what is available instead.
FEW = 2_000

#: A package of which nothing could be placed, though something was available, is tried again after this even
#: if nothing has come to it since: an order's address may have changed, or what it was worth.
RETRY_ANYWAY = timedelta(hours=6)

#: What was changed a moment before an attempt may have been committed after it.
LONGEST_TRANSACTION = timedelta(minutes=5)

#: Whether another attempt may differ from the last one: more of its skus has become available since, or its
#: exclusion has ended, or the rules or the locations have changed; where a location has a quota, always,
#: since that is freed by every package that leaves.
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


class Candidate(NamedTuple):
    """A package that has a chance, and its order."""

    package_id: int
    order_id: int


def find_candidates(
    states: Sequence[PackageState], *, slot: datetime, now: datetime, limit: int
) -> list[Candidate]:
    """The packages that have a chance and were not tried since `slot`, the most urgent first."""
    # OFFSET 0 keeps PostgreSQL from turning the search round and reading all that wait.
    listed = ", ".join(str(state.value) for state in states)
    found = rows(
        f"""
        WITH available AS MATERIALIZED (
            {_skus_to_start_from(listed)}
        ), waiting AS MATERIALIZED (
            SELECT DISTINCT item.package_id
            FROM available
            CROSS JOIN LATERAL (
                SELECT package_id
                FROM package_items
                JOIN order_items ON order_items.id = order_item_id AND order_items.status <> ALL(%(closed)s)
                WHERE package_items.sku = available.sku AND package_items.state IN ({listed})
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
        SELECT packages.id, packages.order_id
        FROM waiting
        JOIN packages ON packages.id = waiting.package_id
        JOIN orders ON orders.id = packages.order_id
        WHERE packages.state IN ({listed})
          AND (replanned_at IS NULL OR replanned_at < %(slot)s)
          AND orders.state = 'planned'
          AND ({_MAY_BEAR_FRUIT})
        ORDER BY orders.priority DESC, promised_at, placed_at, packages.id
        LIMIT %(limit)s
        """,
        {
            "now": now,
            "slot": slot,
            "limit": limit,
            "closed": [status.value for status in CLOSED_LINE_STATUSES],
            "anyway": RETRY_ANYWAY,
            "margin": LONGEST_TRANSACTION,
        },
    )
    return [Candidate(*candidate) for candidate in found]


def _skus_to_start_from(states: str) -> str:
    """From whichever is less: the skus that a few wait for, or those that are available.

    The indexes package_items_unplanned and stock_available hold no more than these.
    """
    few = row(
        f"SELECT count(*) <= %(few)s AS wait FROM ("
        f"SELECT FROM package_items WHERE state IN ({states}) LIMIT %(few)s + 1) AS waiting",
        {"few": FEW},
    )
    if few is not None and few.wait:
        return f"SELECT DISTINCT sku FROM package_items WHERE state IN ({states})"
    return "SELECT DISTINCT sku FROM stock WHERE on_hand > reserved + safety"


def claim_packages(
    candidates: Sequence[Candidate], states: Sequence[PackageState], slot: datetime, now: datetime
) -> list[OrderToPlan]:
    """Lock the orders and packages that are still to be tried, in that order, and read what is to be planned.

    Each package is planned by itself, as an order with the lines that are in it.
    """
    orders = {
        order.id: order
        for order in rows(
            """
            SELECT id, plan_version, facts
            FROM orders
            WHERE id = ANY(%s) AND state = 'planned'
            ORDER BY id
            FOR NO KEY UPDATE SKIP LOCKED
            """,
            (sorted({candidate.order_id for candidate in candidates}),),
        )
    }
    packages = {
        package.id: package
        for package in rows(
            """
            SELECT id, order_id, state, replan_attempts, cancel_after
            FROM packages
            WHERE id = ANY(%s) AND order_id = ANY(%s) AND state = ANY(%s)
              AND (replanned_at IS NULL OR replanned_at < %s)
            ORDER BY id
            FOR NO KEY UPDATE
            """,
            (
                [candidate.package_id for candidate in candidates],
                [*orders],
                [state.value for state in states],
                slot,
            ),
        )
    }
    if not packages:
        return []
    urgent_first = [packages[c.package_id] for c in candidates if c.package_id in packages]
    return _orders_to_plan(urgent_first, orders, now)


def _orders_to_plan(packages: list[Any], orders: dict[int, Any], now: datetime) -> list[OrderToPlan]:
    ids = [package.id for package in packages]
    lines, excluded = lines_of(ids), exclusions_of(ids, now)
    attempts = _attempts_of([*orders])
    made = []
    for package in packages:
        order = orders[package.order_id]
        attempt, packages_before = attempts[order.id]
        attempts[order.id] = (attempt + 1, packages_before)
        made.append(
            OrderToPlan(
                order.id,
                order.plan_version,
                order.facts,
                tuple(lines.get(package.id, ())),
                attempt,
                packages_before,
                excluded.get(package.id, {}),
                replaces=package.id,
                replaced_state=package.state,
                replan_attempts=package.replan_attempts,
                cancel_after=package.cancel_after,
            )
        )
    return made


def lines_of(package_ids: list[int]) -> dict[int, list[Line]]:
    """The lines that are in these packages, by package, without those that were cancelled since."""
    found: dict[int, list[Line]] = {}
    for package_id, *line in rows(
        """
        SELECT package_id, order_item_id, package_items.sku, sum(package_items.quantity)::int, max(price)
        FROM package_items
        JOIN order_items ON order_items.id = order_item_id
        WHERE package_id = ANY(%s) AND order_items.status <> ALL(%s)
        GROUP BY package_id, order_item_id, package_items.sku
        ORDER BY order_item_id
        """,
        (package_ids, [status.value for status in CLOSED_LINE_STATUSES]),
    ):
        found.setdefault(package_id, []).append(Line(*line))
    return found


def exclusions_of(package_ids: list[int], now: datetime) -> dict[int, dict[str, frozenset[int]]]:
    """The locations to which lines of these packages do not return yet, by package and sku."""
    found: dict[int, dict[str, frozenset[int]]] = {}
    for package_id, sku, location_ids in rows(
        """
        SELECT package_id, sku, array_agg(location_id)
        FROM package_items
        JOIN excluded_locations USING (order_item_id)
        WHERE package_id = ANY(%s) AND until > %s
        GROUP BY package_id, sku
        """,
        (package_ids, now),
    ):
        found.setdefault(package_id, {})[sku] = frozenset(location_ids)
    return found


def _attempts_of(order_ids: list[int]) -> dict[int, tuple[int, int]]:
    """By order, the number of the next attempt, and how many packages it has had."""
    found = rows(
        """
        SELECT id,
               (SELECT coalesce(max(attempt), 0) + 1 FROM order_execution_plans WHERE order_id = orders.id),
               (SELECT count(*) FROM packages WHERE order_id = orders.id)
        FROM orders
        WHERE id = ANY(%s)
        """,
        (order_ids,),
    )
    return {order_id: (attempt, packages) for order_id, attempt, packages in found}
