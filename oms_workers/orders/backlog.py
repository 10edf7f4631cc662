"""The orders that wait for something."""

from datetime import timedelta
from typing import Any

from oms_workers.backlog import Waiting, count_since
from oms_workers.orders.models import Order, OrderState, RejectedOrder
from oms_workers.sets import among

#: A task looks each minute, and an order that could not be planned is looked at again after ten.
_PLANNED_WITHIN = timedelta(hours=1)

#: Whoever is on call looks once a day.
_LOOKED_AT_WITHIN = timedelta(days=1)


def _received(condition: Any) -> Any:
    """An order may have been placed long before we had it."""
    return count_since(Order.received_at, condition)


WAITING = (
    Waiting(
        "orders waiting",
        lambda: count_since(Order.placed_at, among(Order.state, [OrderState.WAITING])),
        ("FULFIL_WAITING_ORDERS",),
        patience=_PLANNED_WITHIN,
        arrived=lambda: _received(among(Order.state, [OrderState.WAITING])),
    ),
    Waiting(
        "orders held",
        lambda: count_since(Order.placed_at, among(Order.state, [OrderState.HELD])),
        patience=_LOOKED_AT_WITHIN,
        arrived=lambda: _received(among(Order.state, [OrderState.HELD])),
    ),
    Waiting(
        "orders whose lines changed after planning",
        lambda: count_since(Order.placed_at, ~Order.line_changes.is_null()),
        patience=_LOOKED_AT_WITHIN,
        arrived=lambda: _received(~Order.line_changes.is_null()),
    ),
    Waiting(
        "orders rejected",
        lambda: count_since(RejectedOrder.first_seen_at),
        patience=_LOOKED_AT_WITHIN,
    ),
)
