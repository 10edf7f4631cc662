"""One loop for first planning and for replanning: claim a batch, plan it, commit it, until nothing is left.

Each batch is one transaction. Where a batch cannot be written, its orders are tried one by one, and the one
that cannot be written is put off. `Source` is what differs between the two.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from peewee import DataError, IntegrityError

from oms_workers.audit_events.door import Door
from oms_workers.database import connection, database_now, retry_transient, transaction
from oms_workers.fulfilment.commit import commit_plans
from oms_workers.fulfilment.planner_input import read_planner_input
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan, Plan
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

#: How long a batch may be planned while its orders are locked; what is left of it is the next one's. Far from
#: `IDLE_IN_TRANSACTION_TIMEOUT_SECONDS`, and short enough that a worker that is to stop does.
PLANNING_SECONDS = 5.0

#: How often an order may lose its stock to others before it waits.
MAX_LOSSES = 5


class Source(ABC):
    """Where the orders of a run come from, and what becomes of them besides their plans.

    `actor` is the task's path, and `batch` how many orders one transaction takes.
    """

    actor: str
    batch: int

    @abstractmethod
    def claim(self, limit: int, now: datetime) -> list[OrderToPlan] | None:
        """Lock the next orders, `limit` at the most, and read them; None where nothing is left.

        What is claimed again, before `advance`, is the same.
        """

    @abstractmethod
    def advance(self, limit: int) -> None:
        """What was claimed with this limit is done, and committed."""

    @abstractmethod
    def is_worth_planning(self, planner: Planner, order: OrderToPlan) -> bool:
        """Whether the order is planned at all, with the stock that is left."""

    @abstractmethod
    def places(self, plan: Plan) -> bool:
        """Whether the plan is written as packages; otherwise `finish` has to say what becomes of it."""

    @abstractmethod
    def finish(self, door: Door, written: Sequence[Plan], fruitless: Sequence[Plan]) -> Counter[str]:
        """Record what is to be recorded of a batch; returns what the run's result counts of it."""

    @abstractmethod
    def give_up(self, door: Door, losers: Sequence[Plan]) -> Counter[str]:
        """Let orders wait that have lost their stock to others too often."""

    @abstractmethod
    def put_off(self, door: Door, order: OrderToPlan, problem: str) -> None:
        """Let an order wait that cannot be planned or written, with the reason in the audit trail."""


@dataclass
class Progress:
    """What a run has done so far.

    `claimed` are the orders of the batch at hand. `singly` is how many are still planned one by one, after a
    batch that could not be written. `losses` counts by order how often others took its stock.
    """

    counts: Counter[str]
    claimed: Sequence[OrderToPlan] = ()
    singly: int = 0
    losses: Counter[tuple[int, int | None]] = field(default_factory=Counter)


def plan_in_batches(run: Run, source: Source, progress: Progress) -> dict[str, int]:
    """Plan until the source has nothing left or the run has to stop; returns what was counted."""
    with connection():
        while _plan_batch(source, progress) and not run.should_stop():
            pass
    return dict(progress.counts)


def _plan_batch(source: Source, progress: Progress) -> bool:
    """Plan one batch in a transaction of its own; False where nothing was left."""
    limit = 1 if progress.singly > 0 else source.batch
    try:
        counts = retry_transient(lambda: _claim_plan_commit(source, progress, limit))
    except (DataError, IntegrityError) as error:
        if limit > 1:
            # One order of the batch cannot be written, and it is not known which.
            logger.warning("A batch cannot be committed and is tried order by order: %s", error)
            progress.singly = len(progress.claimed)
            return True
        counts = _put_off_claimed(source, progress, str(error))
    if counts is None:
        return False
    progress.counts.update(counts)
    progress.singly -= 1
    source.advance(limit)
    return True


def _claim_plan_commit(source: Source, progress: Progress, limit: int) -> Counter[str] | None:
    counts: Counter[str] = Counter()
    with transaction():
        now = database_now()
        orders = source.claim(limit, now)
        progress.claimed = orders or ()
        if not orders:
            return None if orders is None else counts
        with Door(source.actor, now) as door:
            planner_input = read_planner_input({line.sku for order in orders for line in order.lines})
            plans = [
                plan
                for order in _in_time(orders, PLANNING_SECONDS)
                if (plan := _plan(source, planner_input.planner, order, door, counts)) is not None
            ]
            placing = [plan for plan in plans if source.places(plan)]
            losers = commit_plans(placing, planner_input, door)
            tired = _count_losses(progress, losers)
            lost = {plan.order.key for plan in losers}
            written = [plan for plan in placing if plan.order.key not in lost]
            counts += source.finish(door, written, [plan for plan in plans if not source.places(plan)])
            counts += source.give_up(door, tired)
    return counts


def _in_time(orders: Iterable[OrderToPlan], seconds: float) -> Iterator[OrderToPlan]:
    """The first order, and the others for as long as so many seconds have not passed."""
    deadline = time.monotonic() + seconds
    for order in orders:
        yield order
        if time.monotonic() > deadline:
            return


def _plan(
    source: Source, planner: Planner, order: OrderToPlan, door: Door, counts: Counter[str]
) -> Plan | None:
    """The plan, or None where it cannot be made, or where there is nothing to make one of any more."""
    try:
        return planner.plan(order) if source.is_worth_planning(planner, order) else None
    except Exception as error:
        logger.exception("%s cannot be planned.", _name_of(order))
        counts["failed"] += 1
        source.put_off(door, order, f"{type(error).__name__}: {error}")
        return None


def _count_losses(progress: Progress, losers: Sequence[Plan]) -> list[Plan]:
    """Those that have lost their stock to others too often."""
    progress.losses.update(plan.order.key for plan in losers)
    return [plan for plan in losers if progress.losses[plan.order.key] >= MAX_LOSSES]


def _put_off_claimed(source: Source, progress: Progress, problem: str) -> Counter[str]:
    """The order that a batch of one had claimed is the one that cannot be written."""
    with transaction(), Door(source.actor, database_now()) as door:
        for order in progress.claimed:
            logger.error("The plan of %s cannot be written: %s", _name_of(order), problem)
            source.put_off(door, order, problem)
    return Counter(failed=len(progress.claimed))


def _name_of(order: OrderToPlan) -> str:
    return f"Package {order.replaces.id} of order {order.id}" if order.replaces else f"Order {order.id}"
