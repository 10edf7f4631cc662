"""Orders that a rule holds for a person, and letting them go."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.audit_events.door import Change, Door
from oms_workers.database import connection, database_now, retry_transient, transaction
from oms_workers.errors import OmsError
from oms_workers.orders.approval import why_not_approved
from oms_workers.orders.models import PLANNED_LINE_STATUSES, OmnitronStatus, Order, OrderItem, OrderState
from oms_workers.orders.naming import is_called, refuse_ambiguity
from oms_workers.orders.states import ORDER
from oms_workers.sets import among, column, fetch, for_change, one_of

#: Orders that are let go in one transaction: planners wait for no longer than a fraction of a second.
BATCH = 500


class NotHeldError(OmsError):
    """The order is not held, so there is nothing to let go."""


class _HeldOrder(NamedTuple):
    id: int


class _Statuses(NamedTuple):
    status: str
    lines: list[str]


def release_order(name: str, *, actor: str, reason: str | None = None) -> None:
    """Let what is held under this number or Omnitron key be planned again, with the scenarios of then.

    No rule holds it again, unless its lines change, be it only a price.
    Raises `NotHeldError` for an order that is not held, or not there, or that Omnitron does not approve, and
    `AmbiguousOrderError` for a name that may mean several orders.
    """
    with connection():
        refuse_ambiguity(name)
        if not retry_transient(lambda: _release(is_called(name), actor, reason)):
            _refuse_unapproved(name)
            raise NotHeldError(f"No order {name!r} is held; `oms explain {name}` says what it is.")


def release_all_held(*, actor: str, reason: str) -> int:
    """Let every order go that is held now; returns how many there were.

    One that a rule holds again meanwhile stays held.
    """
    released = 0
    with connection():
        # By the index orders_held.
        held = column(Order.select(Order.id).where(_is_held()).order_by(Order.id))
        for ids in _batches(held):
            released += retry_transient(partial(_release, one_of(Order.id, ids), actor, reason))
    return released


def _release(condition: Any, actor: str, reason: str | None) -> int:
    """Let the held orders go that meet the condition, in one transaction; returns how many did."""
    with transaction():
        held = Order.select(Order.id).where(condition, _is_held()).order_by(Order.id)
        ids = [order.id for order in fetch(for_change(held), _HeldOrder)]
        if ids:
            content = {"reason": reason} if reason else {}
            with Door(actor, database_now()) as door:
                door.change(ORDER, [_released(id_, content) for id_ in ids])
                # The door has moved the version, for which the release holds.
                released = {Order.next_plan_at: door.at, Order.released_version: Order.plan_version}
                Order.update(released).where(one_of(Order.id, ids)).execute()
        return len(ids)


def _released(order_id: int, content: dict[str, str]) -> Change:
    return Change(order_id, OrderState.HELD, OrderState.WAITING, "released", content)


def _refuse_unapproved(name: str) -> None:
    """Say of a held order that Omnitron does not approve it, where that is so."""
    item = OrderItem
    query = Order.select(Order.status, fn.ARRAY_AGG(item.status).alias("lines"))
    held = query.join(item).where(is_called(name), among(Order.state, [OrderState.HELD])).group_by(Order.id)
    for order in fetch(held, _Statuses):
        why = why_not_approved(order.status, order.lines)
        if why is not None:
            raise NotHeldError(
                f"Order {name!r} waits for Omnitron: {why}. Approve it there, and the next pull lets it go."
            )


def _is_held() -> Any:
    """Held, and approved in Omnitron: what is not waits for Omnitron, and for no person here."""
    approved = OrderItem.select(OrderItem.id).where(
        OrderItem.order == Order.id, one_of(OrderItem.status, PLANNED_LINE_STATUSES)
    )
    is_approved = (Order.status == OmnitronStatus.APPROVED.value) & fn.EXISTS(approved)
    return among(Order.state, [OrderState.HELD]) & is_approved


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
