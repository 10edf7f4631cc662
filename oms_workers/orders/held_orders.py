"""Orders that a rule holds for a person, and letting them go."""

from typing import NamedTuple

from oms_workers.audit_events.door import Change, Door
from oms_workers.database import connection, database_now, transaction
from oms_workers.errors import OmsError
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.states import ORDER
from oms_workers.sets import among, fetch, for_change, one_of


class NotHeldError(OmsError):
    """The order is not held, so there is nothing to let go."""


class _HeldOrder(NamedTuple):
    id: int


def release_order(number: str, *, actor: str) -> None:
    """Let what is held under this number be planned again, with the scenarios and the stock of then.

    Raises `NotHeldError` for an order that is not held, or not there.
    """
    held = (
        Order.select(Order.id)
        .where(Order.number == number, among(Order.state, [OrderState.HELD]))
        .order_by(Order.id)
    )
    with connection(), transaction():
        orders = fetch(for_change(held), _HeldOrder)
        if not orders:
            raise NotHeldError(f"No order {number!r} is held; `oms explain {number}` says what it is.")
        with Door(actor, database_now()) as door:
            ids = [order.id for order in orders]
            door.change(ORDER, [Change(id_, OrderState.HELD, OrderState.WAITING, "released") for id_ in ids])
            Order.update({Order.next_plan_at: door.at}).where(one_of(Order.id, ids)).execute()
