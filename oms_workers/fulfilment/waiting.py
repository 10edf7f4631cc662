"""Planning the orders that wait: claimed, planned and committed a batch at a time, until none is left."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from peewee import DataError, IntegrityError

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, execute, retry_transient, row, rows, transaction
from oms_workers.fulfilment.commit import commit_plans
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import Line, OrderToPlan, Plan
from oms_workers.fulfilment.snapshot import take_snapshot
from oms_workers.isolation import in_time
from oms_workers.orders.models import CLOSED_LINE_STATUSES
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

ACTOR = "oms.fulfilment.tasks.fulfil_waiting_orders"

#: Orders of one transaction: large enough that a statement's overhead is nothing, small enough that the
#: stock which it locks is free again in a fraction of a second.
BATCH = 500

#: How long a batch may be planned while its orders are locked; what is left of it is the next one's. Far
#: from `IDLE_IN_TRANSACTION_TIMEOUT_SECONDS`, and short enough that a worker that is to stop does.
PLANNING_SECONDS = 5.0

#: How often an order may lose its stock to others before it waits for `LOSER_PAUSE`.
MAX_LOSSES = 5
LOSER_PAUSE = timedelta(minutes=1)

#: An order that cannot be planned for a reason that is not its stock is looked at again after this.
FAILURE_PAUSE = timedelta(minutes=10)


@dataclass
class Tally:
    """What a run has done, and which orders gave it trouble.

    `claimed` are the orders of the batch at hand; `singly` is how many are still planned one by one, after a
    batch that could not be written.
    """

    counts: Counter[str] = field(default_factory=lambda: Counter(orders=0, packages=0, out_of_stock=0))
    losses: Counter[int] = field(default_factory=Counter)
    claimed: list[int] = field(default_factory=list)
    singly: int = 0

    @property
    def size(self) -> int:
        return 1 if self.singly > 0 else BATCH


def plan_waiting_orders(run: Run) -> dict[str, int]:
    """Plan until no order waits or the run has to stop; return how many orders and packages were made."""
    tally = Tally()
    with connection():
        while retry_transient(lambda: _plan_batch(tally)) and not run.should_stop():
            pass
    return dict(tally.counts)


def more_than_a_batch() -> bool:
    """Whether more orders wait than one transaction takes, so that others should help."""
    query = "SELECT id FROM orders WHERE state = 'waiting' AND next_plan_at <= now() OFFSET %s LIMIT 1"
    with connection():
        return row(query, (BATCH,)) is not None


def _plan_batch(tally: Tally) -> bool:
    """Plan one batch in a transaction of its own; False where nothing waited."""
    try:
        with transaction():
            return _claim_plan_commit(tally)
    except (DataError, IntegrityError) as error:
        if tally.size > 1:
            # One order of the batch cannot be written, and it is not known which.
            logger.warning("A batch cannot be committed and is tried order by order: %s", error)
            tally.singly = len(tally.claimed)
        else:
            _postpone_claimed(tally, str(error))
        return True


def _claim_plan_commit(tally: Tally) -> bool:
    now = database_now()
    orders = claim_orders(tally.size, now)
    tally.claimed = [order.id for order in orders]
    if not orders:
        return False
    snapshot = take_snapshot({line.sku for order in orders for line in order.lines})
    plans = [
        plan
        for order in in_time(orders, PLANNING_SECONDS)
        if (plan := _plan(snapshot.planner, order, now, tally)) is not None
    ]
    losers = commit_plans(plans, snapshot, actor=ACTOR, at=now)
    _count(tally, plans, losers)
    _let_losers_wait(tally, losers, now)
    tally.singly -= 1
    return True


def claim_orders(limit: int, now: datetime) -> list[OrderToPlan]:
    """Lock the orders whose turn it is, skipping those that others plan, and read their open lines."""
    # The index orders_waiting holds only what waits, in this order.
    claimed = rows(
        """
        SELECT id, plan_version, facts
        FROM orders
        WHERE state = 'waiting' AND next_plan_at <= %s
        ORDER BY priority DESC, promised_at, placed_at, id
        LIMIT %s
        FOR NO KEY UPDATE SKIP LOCKED
        """,
        (now, limit),
    )
    ids = [order.id for order in claimed]
    lines = open_lines(ids)
    before = _attempts_before(ids)
    return [
        OrderToPlan(id_, plan_version, facts, tuple(lines.get(id_, ())), *before.get(id_, (1, 0)))
        for id_, plan_version, facts in claimed
    ]


def open_lines(order_ids: list[int]) -> dict[int, list[Line]]:
    """The lines of these orders that are to be sent, by order."""
    found: dict[int, list[Line]] = {}
    for order_id, *line in rows(
        """
        SELECT order_id, id, sku, quantity, price
        FROM order_items
        WHERE order_id = ANY(%s) AND status <> ALL(%s)
        ORDER BY id
        """,
        (order_ids, [status.value for status in CLOSED_LINE_STATUSES]),
    ):
        found.setdefault(order_id, []).append(Line(*line))
    return found


def _attempts_before(order_ids: list[int]) -> dict[int, tuple[int, int]]:
    """For orders that were planned before: the number of this attempt, and how many packages they had."""
    found = rows(
        """
        SELECT order_id, max(attempt) + 1, (SELECT count(*) FROM packages WHERE order_id = plan.order_id)
        FROM order_execution_plans AS plan
        WHERE order_id = ANY(%s)
        GROUP BY order_id
        """,
        (order_ids,),
    )
    return {order_id: (attempt, packages) for order_id, attempt, packages in found}


def _plan(planner: Planner, order: OrderToPlan, now: datetime, tally: Tally) -> Plan | None:
    try:
        return planner.plan(order)
    except Exception as error:
        logger.exception("Order %s cannot be planned.", order.id)
        tally.counts["failed"] += 1
        _postpone(order.id, f"{type(error).__name__}: {error}", now)
        return None


def _count(tally: Tally, plans: list[Plan], losers: list[Plan]) -> None:
    lost = {plan.order.id for plan in losers}
    done = [plan for plan in plans if plan.order.id not in lost]
    tally.counts["orders"] += len(done)
    tally.counts["packages"] += sum(len(plan.parcels) for plan in done)
    tally.counts["out_of_stock"] += sum(bool(plan.leftovers) for plan in done if plan.hold_reason is None)
    held = sum(plan.hold_reason is not None for plan in done)
    if held:
        tally.counts["held"] += held


def _let_losers_wait(tally: Tally, losers: list[Plan], now: datetime) -> None:
    """An order whose stock others took is planned again from fresh stock, but not for ever."""
    tally.losses.update(plan.order.id for plan in losers)
    tired = [plan.order.id for plan in losers if tally.losses[plan.order.id] >= MAX_LOSSES]
    if tired:
        execute("UPDATE orders SET next_plan_at = %s WHERE id = ANY(%s)", (now + LOSER_PAUSE, tired))


def _postpone_claimed(tally: Tally, problem: str) -> None:
    """The order that a batch of one had claimed is the one that cannot be written."""
    tally.singly -= 1
    tally.counts["failed"] += 1
    with transaction():
        now = database_now()
        for order_id in tally.claimed:
            logger.error("The plan of order %s cannot be written: %s", order_id, problem)
            _postpone(order_id, problem, now)


def _postpone(order_id: int, problem: str, now: datetime) -> None:
    """Let an order that cannot be planned wait, unless somebody else has planned it meanwhile."""
    waiting = execute(
        "UPDATE orders SET next_plan_at = %s WHERE id = %s AND state = 'waiting'",
        (now + FAILURE_PAUSE, order_id),
    )
    if waiting:
        record([Event("order", order_id, "planning_failed", {"problem": problem})], actor=ACTOR, at=now)
