"""The orders that wait for something."""

from oms_workers.backlog import Waiting, count_since
from oms_workers.orders.models import Order, OrderState, RejectedOrder
from oms_workers.sets import among

WAITING = (
    Waiting(
        "orders waiting",
        lambda: count_since(Order.placed_at, among(Order.state, [OrderState.WAITING])),
        ("FULFIL_WAITING_ORDERS",),
    ),
    Waiting(
        "orders held",
        lambda: count_since(Order.placed_at, among(Order.state, [OrderState.HELD])),
    ),
    Waiting(
        "orders whose lines changed after planning",
        lambda: count_since(Order.placed_at, ~Order.line_changes.is_null()),
    ),
    Waiting("orders rejected", lambda: count_since(RejectedOrder.first_seen_at)),
)
