"""Orders of which no package is left to send."""

from typing import NamedTuple

from oms_workers.audit_events.door import Change, Door
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.states import ORDER
from oms_workers.packages.models import FINAL_STATES, Package
from oms_workers.sets import exists, fetch, not_among


class _OrderRow(NamedTuple):
    id: int
    state: OrderState


def settle_order(order_id: int, door: Door) -> None:
    """Settle a locked order none of whose packages has anything before it any more."""
    planned = fetch(Order.select(Order.id, Order.state).where(Order.id == order_id), _OrderRow)
    under_way = Package.select(Package.id).where(
        Package.order == order_id, not_among(Package.state, FINAL_STATES)
    )
    if [order.state for order in planned] == [OrderState.PLANNED] and not exists(under_way):
        door.change(ORDER, [Change(order_id, OrderState.PLANNED, OrderState.SETTLED, "settled")])
