"""Which orders go before which, where several planners work on batches of one queue.

A batch is planned behind the orders that are more urgent, although others have claimed them and have not
committed their plans yet. They are planned too, each at its place in the queue, and what they take is gone
for those behind them. Only the batch's own plans are written. So the more urgent order gets what both want,
whoever commits first, and nobody waits for anybody.

It is done only for what is scarce. Where each location has enough for all of them, nothing that one order
takes is missing for another.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from oms_workers.fulfilment.planner_input import PlannerInput, read_planner_input
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan, wanted

logger = logging.getLogger(__name__)

#: An order, and the package of it that is planned again, by their ids.
Key = tuple[int, int | None]

#: Orders that may go before a batch: those of so many other planners, and this number at the most. A batch
#: that is further behind competes with these only.
PLANNERS_AHEAD = 10
MOST_AHEAD = 5_000

#: How long they may be planned, since each planner of their own does it too. Those that are left are ignored,
#: and the log says how many.
AHEAD_SECONDS = 2.0


class Queue(ABC):
    """Where a batch comes from, asked about the orders of others that stand before it."""

    @abstractmethod
    def demand_of(self, keys: Sequence[Key]) -> Mapping[str, int]:
        """The units by sku that these want together."""

    @abstractmethod
    def read_others(self, keys: Sequence[Key], now: datetime) -> list[OrderToPlan]:
        """Those of them that still wait, not locked, to be planned."""


class Queued(NamedTuple):
    """What a batch is planned with, and its orders. Each comes when those before it have taken theirs."""

    planner_input: PlannerInput
    orders: Iterable[OrderToPlan]


def line_up(queue: Queue, keys: Sequence[Key], orders: Sequence[OrderToPlan], now: datetime) -> Queued:
    """Read what a batch is planned with, and put its orders behind those of `keys` that are before them.

    Raises `NoDefaultLocationError`.
    """
    mine = {order.key for order in orders}
    ahead = [key for key in keys if key not in mine]
    demand = Counter(wanted([line for order in orders for line in order.lines])) + Counter(
        queue.demand_of(ahead)
    )
    planner_input = read_planner_input(demand)
    scarce = planner_input.planner.scarce(demand)
    may_fill_up = planner_input.planner.may_fill_up(len(keys))
    if not scarce and not may_fill_up:
        return Queued(planner_input, orders)
    # Only now, after the stock was read: what was committed before that has taken its stock already.
    others = {
        other.key: other
        for other in queue.read_others(ahead, now)
        if may_fill_up or any(line.sku in scarce for line in other.lines)
    }
    return Queued(planner_input, _behind(_places(keys, mine, others), orders, planner_input.planner))


def _behind(
    before: Mapping[Key, Sequence[OrderToPlan]], orders: Sequence[OrderToPlan], planner: Planner
) -> Iterator[OrderToPlan]:
    """Each order, when those that go before it have taken what is theirs."""
    deadline, ignored = time.monotonic() + AHEAD_SECONDS, 0
    for order in orders:
        for other in before.get(order.key, ()):
            if time.monotonic() < deadline:
                _anticipate(planner, other)
            else:
                ignored += 1
        yield order
    if ignored:
        logger.warning(
            "%s more urgent orders of other workers were not planned ahead of a batch: %s s were spent.",
            ignored,
            AHEAD_SECONDS,
        )


def _places(
    keys: Sequence[Key], mine: set[Key], others: Mapping[Key, OrderToPlan]
) -> dict[Key, list[OrderToPlan]]:
    """The orders of others that stand between one of the batch's and the one before it."""
    before: dict[Key, list[OrderToPlan]] = {}
    waiting: list[OrderToPlan] = []
    for key in keys:
        if key in others:
            waiting.append(others[key])
        elif key in mine:
            before[key], waiting = waiting, []
    return before


def _anticipate(planner: Planner, order: OrderToPlan) -> None:
    """Let an order of another planner take what it will be given."""
    try:
        planner.plan(order)
    except Exception as error:  # noqa: BLE001 - the planner that has claimed it puts it off, and says so
        logger.info("Order %s goes before others and cannot be planned: %s", order.id, error)
