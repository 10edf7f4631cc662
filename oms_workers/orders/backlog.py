"""The orders that wait for something."""

from datetime import timedelta
from typing import Any

from peewee import SQL, fn

from oms_workers.audit_events.models import AuditTrail
from oms_workers.backlog import Waiting, count_since
from oms_workers.orders.models import Order, OrderState, RejectedOrder
from oms_workers.orders.states import ORDER
from oms_workers.sets import among

#: A task looks each minute, and an order that could not be planned is looked at again after ten.
_PLANNED_WITHIN = timedelta(hours=1)

#: Whoever is on call looks once a day.
_LOOKED_AT_WITHIN = timedelta(days=1)

#: With each of these an order begins to wait again.
_BEGAN_TO_WAIT = ("released", "lines_replaced", "approved")


def _came(condition: Any, *actions: str) -> Any:
    """An order may have been placed long before we had it, and received long before this befell it."""
    event = AuditTrail
    came = event.select(fn.MAX(event.at)).where(
        event.object_type == ORDER.name, event.object_id == Order.id, event.action.in_(actions)
    )
    since = fn.MIN(fn.COALESCE(came, Order.received_at)).alias("oldest")
    return Order.select(fn.COUNT(SQL("*")).alias("waiting"), since).where(condition)


WAITING = (
    Waiting(
        "orders waiting",
        lambda: count_since(Order.placed_at, among(Order.state, [OrderState.WAITING])),
        ("FULFIL_WAITING_ORDERS",),
        patience=_PLANNED_WITHIN,
        arrived=lambda: _came(among(Order.state, [OrderState.WAITING]), *_BEGAN_TO_WAIT),
    ),
    Waiting(
        "orders held",
        lambda: count_since(Order.placed_at, among(Order.state, [OrderState.HELD])),
        patience=_LOOKED_AT_WITHIN,
        arrived=lambda: _came(among(Order.state, [OrderState.HELD]), "held"),
    ),
    Waiting(
        "orders whose lines changed after planning",
        lambda: count_since(Order.placed_at, ~Order.line_changes.is_null()),
        patience=_LOOKED_AT_WITHIN,
        arrived=lambda: _came(~Order.line_changes.is_null(), "lines_changed_after_planning"),
    ),
    Waiting(
        "orders rejected",
        lambda: count_since(RejectedOrder.first_seen_at, RejectedOrder.dismissed_at.is_null()),
        patience=_LOOKED_AT_WITHIN,
    ),
)
