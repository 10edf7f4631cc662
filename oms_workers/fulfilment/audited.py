"""The plans of an order, whose history is a part of the order's."""

from typing import NamedTuple

from oms_workers.audit_events.history import Audited
from oms_workers.fulfilment.models import OrderExecutionPlan
from oms_workers.fulfilment.states import PLAN
from oms_workers.orders.models import Order
from oms_workers.orders.naming import is_called
from oms_workers.sets import fetch


class _Attempt(NamedTuple):
    id: int
    number: str
    attempt: int


def plans_called(name: str) -> list[Audited]:
    """The plans of the orders with this number or Omnitron key."""
    plan = OrderExecutionPlan
    query = plan.select(plan.id, Order.number, plan.attempt).join(Order).where(is_called(name))
    found = fetch(query.order_by(plan.id), _Attempt)
    return [Audited(PLAN.name, each.id, f"{each.number}, attempt {each.attempt}") for each in found]
