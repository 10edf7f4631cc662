"""First planning: the orders that wait become packages, a batch at a time, until none is left."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from oms_workers.audit_events.door import Door
from oms_workers.database import connection, database_now
from oms_workers.fulfilment.batches import Progress, Source, orders_of_a_batch, plan_in_batches
from oms_workers.fulfilment.line_up import Key
from oms_workers.fulfilment.orders_to_plan import CLAIMED_ORDER, ClaimedOrder, demand_of_orders, read_orders
from oms_workers.fulfilment.planner_input import has_default_location
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan, Plan
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.states import ORDER
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, column, exists, fetch, for_change, one_of

ACTOR = "oms.fulfilment.tasks.fulfil_waiting_orders"

#: Orders of one transaction: large enough that a statement's overhead is nothing, small enough that the
#: stock which it locks is free again in a fraction of a second.
BATCH = 500

#: How long an order waits that has lost its stock to others too often.
LOSER_PAUSE = timedelta(minutes=1)

#: An order that cannot be planned for a reason that is not its stock is looked at again after this.
FAILURE_PAUSE = timedelta(minutes=10)


def plan_waiting_orders(run: Run) -> dict[str, int]:
    """Plan until no order waits or the run has to stop; returns how many orders and packages were made."""
    counts = Counter(orders=0, packages=0, out_of_stock=0)
    return plan_in_batches(run, WaitingOrders(), Progress(counts))


def more_than_a_batch() -> bool:
    """Whether more orders wait than one transaction takes, so that others should help."""
    with connection():
        return exists(_due(database_now(), Order.id).offset(orders_of_a_batch(BATCH)))


def wants_help() -> bool:
    """Whether others should help: more orders wait than one transaction takes, and they can be planned."""
    with connection():
        return has_default_location() and more_than_a_batch()


#: The most urgent first, as the index orders_waiting has them.
_URGENCY = (Order.priority.desc(), Order.promised_at, Order.placed_at, Order.id)


class WaitingOrders(Source):
    """The orders that wait, the most urgent first."""

    actor = ACTOR

    @property
    def batch(self) -> int:  # type: ignore[override]
        return BATCH

    def __init__(self) -> None:
        self._claimed: list[ClaimedOrder] = []
        self._is_over = False

    def look(self) -> bool:
        """Until a claim has found no order that waits and is not locked by others."""
        return not self._is_over

    def claim(self, limit: int, now: datetime) -> Sequence[Key]:
        query = _due(now, *CLAIMED_ORDER).order_by(*_URGENCY)
        self._claimed = fetch(for_change(query.limit(limit), skip_locked=True), ClaimedOrder)
        self._is_over = not self._claimed
        return [(order.id, None) for order in self._claimed]

    def read(self, now: datetime) -> list[OrderToPlan]:  # noqa: ARG002
        return read_orders(self._claimed)

    def line_up(self, most: int, now: datetime) -> Sequence[Key]:
        """Usually nobody is ahead, so no more is read at first than was claimed."""
        claimed = {order.id for order in self._claimed}
        ids = _most_urgent(len(claimed), now)
        if {*ids} != claimed:
            ids = _most_urgent(len(claimed) + most, now)
            if not claimed <= {*ids}:
                # Those that are further behind come after all of these.
                ids = [*dict.fromkeys([*ids, *(order.id for order in self._claimed)])]
            ids = ids[: max(place for place, id_ in enumerate(ids) if id_ in claimed) + 1]
        return [(id_, None) for id_ in ids]

    def demand_of(self, keys: Sequence[Key]) -> Mapping[str, int]:
        return demand_of_orders([order_id for order_id, _ in keys])

    def read_others(self, keys: Sequence[Key], now: datetime) -> list[OrderToPlan]:
        ids = [order_id for order_id, _ in keys]
        return read_orders(fetch(_due(now, *CLAIMED_ORDER).where(one_of(Order.id, ids)), ClaimedOrder))

    def advance(self, limit: int) -> None:
        """The states of the orders say which are done."""

    def width(self, limit: int) -> int:  # noqa: ARG002
        return len(self._claimed)

    def count_waiting(self) -> int:
        return int(_due(database_now(), Order.id).count())

    def is_worth_planning(self, planner: Planner, order: OrderToPlan) -> bool:  # noqa: ARG002
        return True

    def places(self, plan: Plan) -> bool:  # noqa: ARG002
        """What no rule can place becomes a package in out_of_stock."""
        return True

    def finish(self, door: Door, written: Sequence[Plan], fruitless: Sequence[Plan]) -> Counter[str]:  # noqa: ARG002
        counts = Counter(
            orders=len(written),
            packages=sum(len(plan.parcels) for plan in written),
            out_of_stock=sum(bool(plan.leftovers) for plan in written if plan.hold_reason is None),
        )
        held = sum(plan.hold_reason is not None for plan in written)
        return counts + Counter(held=held)

    def give_up(self, door: Door, losers: Sequence[Plan]) -> Counter[str]:
        _wait([plan.order.id for plan in losers], door.at + LOSER_PAUSE)
        return Counter()

    def put_off(self, door: Door, key: Key, problem: str) -> None:
        """Let it wait, unless another worker has planned it meanwhile."""
        order_id, _ = key
        if _wait([order_id], door.at + FAILURE_PAUSE):
            door.note(ORDER, order_id, "planning_failed", {"problem": problem})


def _most_urgent(count: int, now: datetime) -> list[int]:
    """The first orders that are due, whoever has them."""
    return column(_due(now, Order.id).order_by(*_URGENCY).limit(count))


def _due(now: datetime, *columns: Any) -> Any:
    # The index orders_waiting holds only what waits, the most urgent first.
    query = Order.select(*columns)
    return query.where(among(Order.state, [OrderState.WAITING]), Order.next_plan_at <= now)


def _wait(order_ids: Sequence[int], until: datetime) -> int:
    """Let these orders wait, those that still do; returns how many did."""
    if not order_ids:
        return 0
    waiting = among(Order.state, [OrderState.WAITING])
    update = Order.update({Order.next_plan_at: until})
    return int(update.where(one_of(Order.id, order_ids), waiting).execute())
