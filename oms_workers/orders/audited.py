"""The orders whose history can be asked for by name."""

from typing import NamedTuple

from oms_workers.audit_events.history import Audited
from oms_workers.orders.models import Order
from oms_workers.orders.naming import is_called
from oms_workers.orders.states import ORDER
from oms_workers.sets import columns_of, fetch


class _Called(NamedTuple):
    id: int
    number: str


def orders_called(name: str) -> list[Audited]:
    """The orders with this number or Omnitron key."""
    query = Order.select(*columns_of(Order, _Called)).where(is_called(name)).order_by(Order.id)
    return [Audited(ORDER.name, order.id, order.number) for order in fetch(query, _Called)]
