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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from oms_workers.fulfilment.planner_input import PlannerInput, read_planner_input
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan

logger = logging.getLogger(__name__)

#: An order, and the package of it that is planned again, by their ids.
Key = tuple[int, int | None]

#: Orders that may go before a batch: those of ten other planners. A batch that is further behind competes
#: with these only.
MOST_AHEAD = 5_000

#: How long they may be planned, since each planner of their own does it too. Those that are left are ignored.
AHEAD_SECONDS = 2.0


class Queue(Protocol):
    """Where a batch comes from, asked about those that stand before it."""

    def line_up(self, most: int, now: datetime) -> Sequence[Key]:
        """What was claimed last, and what is more urgent and others have, the most urgent first."""

    def demand_of(self, keys: Sequence[Key]) -> Mapping[str, int]:
        """The units by sku that these want together."""

    def read_others(self, keys: Sequence[Key], now: datetime) -> list[OrderToPlan]:
        """Those of them that still wait, not locked, to be planned."""


@dataclass(frozen=True)
class LineUp:
    """Orders to be planned, the most urgent first, and those of others that go before each, by its key."""

    planner_input: PlannerInput
    orders: Sequence[OrderToPlan]
    before: Mapping[Key, Sequence[OrderToPlan]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[OrderToPlan]:
        """Each order, when those that go before it have taken what is theirs."""
        deadline = time.monotonic() + AHEAD_SECONDS
        for order in self.orders:
            for other in self.before.get(order.key, ()):
                if time.monotonic() < deadline:
                    _anticipate(self.planner_input.planner, other)
            yield order


def line_up(queue: Queue, orders: Sequence[OrderToPlan], now: datetime) -> LineUp:
    """Read what the orders of a batch are planned with, and who goes before them.

    Raises `NoDefaultLocationError`.
    """
    own = _demand(orders)
    keys = queue.line_up(MOST_AHEAD, now)
    mine = {order.key for order in orders}
    ahead = [key for key in keys if key not in mine]
    demand = own + Counter(queue.demand_of(ahead)) if ahead else own
    planner_input = read_planner_input(demand)
    if not ahead:
        return LineUp(planner_input, orders)
    scarce = planner_input.planner.scarce(demand)
    may_fill_up = planner_input.planner.may_fill_up(len(keys))
    if not scarce and not may_fill_up:
        return LineUp(planner_input, orders)
    # Only now, after the stock was read: what was committed before that has taken its stock already.
    others = {
        other.key: other
        for other in queue.read_others(ahead, now)
        if may_fill_up or any(line.sku in scarce for line in other.lines)
    }
    return LineUp(planner_input, orders, _places(keys, mine, others))


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


def _demand(orders: Sequence[OrderToPlan]) -> Counter[str]:
    demand: Counter[str] = Counter()
    for order in orders:
        for line in order.lines:
            demand[line.sku] += line.quantity
    return demand


def _anticipate(planner: Planner, order: OrderToPlan) -> None:
    """Let an order of another planner take what it will be given."""
    try:
        planner.plan(order)
    except Exception as error:  # noqa: BLE001 - the planner that has claimed it puts it off, and says so
        logger.info("Order %s goes before others and cannot be planned: %s", order.id, error)
