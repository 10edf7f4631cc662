"""One loop for first planning and for replanning: claim a batch, plan it, commit it, until nothing is left.

Each batch is one transaction. Where a batch cannot be written, its orders are tried one by one, and the one
that cannot be written is put off. `Source` is what differs between the two.
"""

import logging
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from peewee import DataError, IntegrityError, InterfaceError, OperationalError

from oms_workers.audit_events.door import Door
from oms_workers.database import (
    concerns_what_is_written,
    connection,
    database_now,
    is_unreachable,
    replace_connection,
    retry_transient,
    transaction,
)
from oms_workers.fulfilment.commit import commit_plans
from oms_workers.fulfilment.line_up import MOST_AHEAD, PLANNERS_AHEAD, Key, Queue, line_up
from oms_workers.fulfilment.planner_input import (
    NoDefaultLocationError,
    PlannerInput,
    count_locations,
    read_planner_input,
)
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan, Plan
from oms_workers.isolation import guarded
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

#: In a run's result: how much waits because no location is the default one.
WAITING_FOR_DEFAULT_LOCATION = "waiting_for_default_location"

#: How long a batch may be planned while its orders are locked; what is left of it is the next one's. Far from
#: `IDLE_IN_TRANSACTION_TIMEOUT_SECONDS`, and short enough that a worker that is to stop does.
PLANNING_SECONDS = 5.0

#: Orders × locations of one batch: of each order's skus the stock of every location is in memory. A merchant
#: with a thousand stores has 250 orders in a batch, whose stock takes some 50 MB.
MOST_CELLS = 250_000

#: How often an order may lose its stock to others before it waits.
MAX_LOSSES = 5


class Source(Queue):
    """Where the orders of a run come from, and what becomes of them besides their plans.

    `actor` is the task's path, and `batch` how many orders one transaction takes.
    """

    actor: str
    batch: int

    @abstractmethod
    def look(self) -> bool:
        """Look for what is next, before the transaction that claims it; False where nothing is left."""

    @abstractmethod
    def claim(self, limit: int, now: datetime) -> Sequence[Key]:
        """Lock the next orders, `limit` at the most; none where others have them locked."""

    @abstractmethod
    def read(self, now: datetime) -> list[OrderToPlan]:
        """The orders that were claimed last, to be planned."""

    @abstractmethod
    def line_up(self, most: int, now: datetime) -> Sequence[Key]:
        """What was claimed last, and up to `most` that are more urgent and others have claimed, in order."""

    @abstractmethod
    def advance(self, limit: int) -> None:
        """What was claimed last, with this limit, is done and committed."""

    @abstractmethod
    def width(self, limit: int) -> int:
        """How many claims of one it takes to walk through what was claimed last, with this limit."""

    @abstractmethod
    def count_waiting(self) -> int:
        """How much is left that could be claimed now."""

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
    def put_off(self, door: Door, key: Key, problem: str) -> None:
        """Let an order wait that cannot be planned or written, with the reason in the audit trail."""


@dataclass
class Progress:
    """What a run has done so far.

    `most` is how many orders a batch has, and `claimed` are those of the batch at hand. `reached` is how many
    of these were planned before the time was up, and `slowest` the one whose planning took most seconds.
    `singly` is how many are still planned one by one, after a batch that could not be written. `losses`
    counts by order how often others took its stock.
    """

    counts: Counter[str]
    most: int = 1
    claimed: Sequence[Key] = ()
    reached: int = 0
    slowest: tuple[float, Key] | None = None
    singly: int = 0
    losses: Counter[Key] = field(default_factory=Counter)


class _Batch(NamedTuple):
    """What a committed batch has done, and which orders lost their stock to others in it."""

    counts: Counter[str]
    losers: Sequence[Key] = ()


def orders_of_a_batch(most: int) -> int:
    """How many orders are planned together, `most` where there are few locations."""
    return min(most, max(1, MOST_CELLS // max(1, count_locations())))


def plan_in_batches(run: Run, source: Source, progress: Progress) -> dict[str, int]:
    """Plan until the source has nothing left or the run has to stop; returns what was counted.

    Without a default location nothing is planned: what waits goes on waiting, and is counted.
    """
    with connection():
        progress.most = orders_of_a_batch(source.batch)
        try:
            while source.look():
                _plan_batch(source, progress)
                if run.should_stop():
                    break
        except NoDefaultLocationError as error:
            waiting = source.count_waiting()
            progress.counts[WAITING_FOR_DEFAULT_LOCATION] = waiting
            logger.warning("%s wait for %s. %s", waiting, source.actor, error)
    return dict(progress.counts)


def _plan_batch(source: Source, progress: Progress) -> None:
    """Plan one batch in a transaction of its own; a batch of one that cannot be written is put off."""
    limit = 1 if progress.singly > 0 else progress.most
    progress.claimed, progress.slowest = (), None
    try:
        batch = retry_transient(lambda: _claim_plan_commit(source, progress, limit))
    except (DataError, IntegrityError, InterfaceError, OperationalError) as error:
        if is_unreachable(error) and progress.slowest is not None and progress.slowest[0] > PLANNING_SECONDS:
            progress.counts.update(_put_off_slowest(source, progress.slowest, error))
            return
        if not concerns_what_is_written(error):
            raise
        if limit > 1:
            # One order of the batch cannot be written, and it is not known which.
            logger.warning("A batch cannot be committed and is tried order by order: %s", error)
            progress.singly = max(1, source.width(limit))
            return
        batch = _put_off_claimed(source, progress, error)
    # Only now, after the commit: a transaction that is repeated counts once.
    progress.counts.update(batch.counts)
    progress.losses.update(batch.losers)
    progress.singly -= 1
    source.advance(limit)


def _claim_plan_commit(source: Source, progress: Progress, limit: int) -> _Batch:
    counts: Counter[str] = Counter()
    progress.reached = 0
    with transaction():
        now = database_now()
        progress.claimed = source.claim(limit, now)
        if not progress.claimed:
            return _Batch(counts)
        orders = source.read(now)
        with Door(source.actor, now) as door:
            planner_input, queue = _read_input(source, progress, orders, now)
            plans = [
                plan
                for order in _in_time(queue, progress)
                if (plan := _plan(source, planner_input.planner, order, door, counts)) is not None
            ]
            placing = [plan for plan in plans if source.places(plan)]
            losers = commit_plans(placing, planner_input, door)
            lost = {plan.order.key for plan in losers}
            written = [plan for plan in placing if plan.order.key not in lost]
            counts += source.finish(door, written, [plan for plan in plans if not source.places(plan)])
            counts += source.give_up(door, _tired(progress, losers))
    return _Batch(counts, [*lost])


def _read_input(
    source: Source, progress: Progress, orders: Sequence[OrderToPlan], now: datetime
) -> tuple[PlannerInput, Iterable[OrderToPlan]]:
    """What a batch is planned with, and its orders in turn; usually no others are more urgent."""
    keys = source.line_up(min(MOST_AHEAD, PLANNERS_AHEAD * progress.most), now)
    if len(keys) > len(orders):
        return line_up(source, keys, orders, now)
    return read_planner_input({line.sku for order in orders for line in order.lines}), orders


def _in_time(orders: Iterable[OrderToPlan], progress: Progress) -> Iterator[OrderToPlan]:
    """The first order, and the others until `PLANNING_SECONDS` have passed; notes which took longest."""
    deadline = time.monotonic() + PLANNING_SECONDS
    for order in orders:
        begun = time.monotonic()
        yield order
        progress.reached += 1
        taken = (time.monotonic() - begun, order.key)
        progress.slowest = taken if progress.slowest is None else max(progress.slowest, taken, key=_seconds)
        if time.monotonic() > deadline:
            return


def _seconds(taken: tuple[float, Key]) -> float:
    return taken[0]


def _plan(
    source: Source, planner: Planner, order: OrderToPlan, door: Door, counts: Counter[str]
) -> Plan | None:
    """The plan, or None where it cannot be made, or where there is nothing to make one of any more."""
    try:
        return planner.plan(order) if source.is_worth_planning(planner, order) else None
    except Exception as error:
        logger.exception("%s cannot be planned.", _name_of(order.key))
        counts["failed"] += 1
        source.put_off(door, order.key, f"{type(error).__name__}: {error}")
        return None


def _tired(progress: Progress, losers: Sequence[Plan]) -> list[Plan]:
    """Those that have lost their stock to others too often, this time included."""
    return [plan for plan in losers if progress.losses[plan.order.key] + 1 >= MAX_LOSSES]


def _put_off_claimed(source: Source, progress: Progress, error: Exception) -> _Batch:
    """The order that a batch of one had claimed is the one that cannot be read or written."""
    if not progress.claimed:
        # It is none of the orders that is wrong.
        raise error
    for key in progress.claimed:
        logger.error("The plan of %s cannot be written: %s", _name_of(key), error)
        problem = f"{_name_of(key)} cannot be put off and is tried again by the next run"
        guarded(_put_off, source, key, str(error), problem=problem)
    progress.reached = len(progress.claimed)
    return _Batch(Counter(failed=len(progress.claimed)))


def _put_off_slowest(source: Source, slowest: tuple[float, Key], error: Exception) -> Counter[str]:
    """PostgreSQL ends a session that is silent in a transaction, which this order was planned for so long."""
    seconds, key = slowest
    replace_connection()
    logger.error("%s took %.0f s to plan, and the connection was lost: %s", _name_of(key), seconds, error)
    problem = f"{_name_of(key)} cannot be put off and is tried again by the next run"
    reason = f"planning it took {seconds:.0f} s, in which PostgreSQL ended the session"
    guarded(_put_off, source, key, reason, problem=problem)
    return Counter(failed=1)


def _put_off(source: Source, key: Key, problem: str) -> bool:
    with transaction(), Door(source.actor, database_now()) as door:
        source.put_off(door, key, problem)
    return True


def _name_of(key: Key) -> str:
    order_id, package_id = key
    return f"Order {order_id}" if package_id is None else f"Package {package_id} of order {order_id}"
