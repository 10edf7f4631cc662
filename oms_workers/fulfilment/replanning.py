"""Planning packages again (tasks 3 and 4): those that a location rejected, or that found no stock.

Only packages worth it are looked at: an item of theirs has become available somewhere that has not rejected
it. A package is tried once for all that comes due at the same instant, whichever task it is.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from peewee import DataError, IntegrityError

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, execute, retry_transient, rows, transaction
from oms_workers.fulfilment.commit import commit_plans
from oms_workers.fulfilment.failed_attempts import record_failed_attempts
from oms_workers.fulfilment.models import PackageState
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import Line, OrderToPlan, Plan
from oms_workers.fulfilment.snapshot import take_snapshot
from oms_workers.orders.models import CLOSED_LINE_STATUSES
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

#: Packages of one transaction, and how many are looked up at once, the most urgent first.
BATCH = 200
CANDIDATES = 5_000

#: How often a package may lose its stock to others before it waits for the next run.
MAX_LOSSES = 5


class _Candidate(NamedTuple):
    package_id: int
    order_id: int


@dataclass
class _Replanning:
    """One run: what it looks for, on whose behalf, and what it has done."""

    run: Run
    states: tuple[PackageState, ...]
    actor: str
    max_attempts: int
    counts: Counter[str] = field(
        default_factory=lambda: Counter(looked_at=0, replanned=0, packages=0, without_success=0)
    )
    losses: Counter[int] = field(default_factory=Counter)

    def progress(self) -> int:
        return self.counts["looked_at"] + self.counts["failed"] + self.losses.total()


def replan_packages(
    run: Run, states: Sequence[PackageState], *, actor: str, max_attempts: int
) -> dict[str, int]:
    """Plan packages in these states again, until none is left that is worth it or the run has to stop.

    `max_attempts` fruitless attempts make a package unavailable; 0 is without end.
    Returns how many were looked at, replanned, into how many packages, and without success.
    """
    work = _Replanning(run, tuple(states), actor, max_attempts)
    with connection():
        while candidates := _find_candidates(work):
            before = work.progress()
            for start in range(0, len(candidates), BATCH):
                _replan(work, candidates[start : start + BATCH])
                if run.should_stop():
                    return dict(work.counts)
            if work.progress() == before:
                # Somebody else has the rest locked, and does with it what we would.
                break
    return dict(work.counts)


def _find_candidates(work: _Replanning) -> list[_Candidate]:
    # From what is available to who waits for it, by the indexes stock_available and package_items_unplanned:
    # OFFSET 0 keeps PostgreSQL from turning it round and reading all that wait.
    states = ", ".join(str(state.value) for state in work.states)
    found = rows(
        f"""
        WITH available AS MATERIALIZED (
            SELECT DISTINCT sku FROM stock WHERE on_hand > reserved + safety
        ), waiting AS MATERIALIZED (
            SELECT DISTINCT item.package_id
            FROM available
            CROSS JOIN LATERAL (
                SELECT package_id, order_item_id
                FROM package_items
                WHERE package_items.sku = available.sku AND state IN ({states})
                OFFSET 0
            ) AS item
            WHERE EXISTS (
                SELECT FROM stock
                JOIN locations ON locations.id = stock.location_id AND locations.active
                WHERE stock.sku = available.sku AND on_hand > reserved + safety
                  AND NOT EXISTS (
                      SELECT FROM excluded_locations AS excluded
                      WHERE excluded.order_item_id = item.order_item_id
                        AND excluded.location_id = stock.location_id
                        AND excluded.until > %(now)s
                  )
            )
        )
        SELECT packages.id, packages.order_id
        FROM waiting
        JOIN packages ON packages.id = waiting.package_id
        JOIN orders ON orders.id = packages.order_id
        WHERE packages.state IN ({states})
          AND (replanned_at IS NULL OR replanned_at < %(slot)s)
          AND orders.state = 'planned'
        ORDER BY orders.priority DESC, promised_at, placed_at, packages.id
        LIMIT %(limit)s
        """,
        {"now": work.run.now, "slot": work.run.slot, "limit": CANDIDATES},
    )
    return [_Candidate(*candidate) for candidate in found]


def _replan(work: _Replanning, candidates: Sequence[_Candidate]) -> None:
    """Plan these again, one by one where together they cannot be written."""
    try:
        retry_transient(lambda: _replan_batch(work, candidates))
    except (DataError, IntegrityError) as error:
        if len(candidates) == 1:
            _postpone(work, candidates[0].package_id, str(error))
            return
        logger.warning("A batch cannot be committed and is tried package by package: %s", error)
        for candidate in candidates:
            _replan(work, [candidate])


def _replan_batch(work: _Replanning, candidates: Sequence[_Candidate]) -> None:
    counts: Counter[str] = Counter()
    with transaction():
        now = database_now()
        orders = claim_packages(candidates, work.states, work.run.slot, now)
        if not orders:
            return
        snapshot = take_snapshot({line.sku for order in orders for line in order.lines})
        plans = [plan for order in orders if (plan := _plan(work, snapshot.planner, order, now)) is not None]
        useful = [plan for plan in plans if plan.parcels]
        losers = commit_plans(useful, snapshot, actor=work.actor, at=now)
        tired = _count_losses(work, losers)
        fruitless = [plan for plan in plans if not plan.parcels]
        lost = {plan.order.replaces for plan in losers}
        done = [plan for plan in useful if plan.order.replaces not in lost]
        record_failed_attempts(fruitless, actor=work.actor, at=now, max_attempts=work.max_attempts)
        _mark([plan.order.replaces for plan in [*fruitless, *tired]], now)
        counts.update(
            looked_at=len(done) + len(fruitless) + len(tired),
            replanned=len(done),
            packages=sum(len(plan.parcels) for plan in done),
            without_success=len(fruitless),
        )
    work.counts.update(counts)


def claim_packages(
    candidates: Sequence[_Candidate], states: Sequence[PackageState], slot: datetime, now: datetime
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


def _plan(work: _Replanning, planner: Planner, order: OrderToPlan, now: datetime) -> Plan | None:
    """The plan, or None where it cannot be made, or others have taken the stock since we looked."""
    try:
        return planner.plan(order) if planner.has_any_of(order) else None
    except Exception as error:
        logger.exception("Package %s of order %s cannot be planned.", order.replaces, order.id)
        work.counts["failed"] += 1
        _note_failure(work, order.replaces, f"{type(error).__name__}: {error}", now)
        return None


def _count_losses(work: _Replanning, losers: Sequence[Plan]) -> list[Plan]:
    """Those that have lost their stock so often that they wait for the next run."""
    work.losses.update(plan.order.replaces for plan in losers if plan.order.replaces)
    return [plan for plan in losers if work.losses[plan.order.replaces or 0] >= MAX_LOSSES]


def _mark(package_ids: Sequence[int | None], now: datetime) -> None:
    execute("UPDATE packages SET replanned_at = %s WHERE id = ANY(%s)", (now, [*package_ids]))


def _postpone(work: _Replanning, package_id: int, problem: str) -> None:
    """A package whose plan cannot be written has had its turn; the others go on."""
    logger.error("The plan of package %s cannot be written: %s", package_id, problem)
    work.counts["failed"] += 1
    with transaction():
        _note_failure(work, package_id, problem, database_now())


def _note_failure(work: _Replanning, package_id: int | None, problem: str, now: datetime) -> None:
    if package_id is not None:
        _mark([package_id], now)
        event = Event("package", package_id, "planning_failed", {"problem": problem})
        record([event], actor=work.actor, at=now)
