"""The orders that wait, one by one, each with the reason; the longest waiting first."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from peewee import JOIN

from oms_workers.audit_events.latest import latest_event
from oms_workers.backlog import first_rows
from oms_workers.orders.models import Order, OrderState, RejectedOrder
from oms_workers.orders.states import ORDER
from oms_workers.sets import among, columns_of, fetch


class OrderList(StrEnum):
    """What orders can be listed by: the states in which one waits, as the backlog has them."""

    HELD = "held"
    WAITING = "waiting"
    CHANGED = "changed"
    REJECTED = "rejected"


class ListedOrder(NamedTuple):
    """An order that waits, and what was said when it came to that; `total` is how many there are."""

    number: str
    omnitron_id: int
    state: OrderState
    placed_at: datetime
    next_plan_at: datetime
    content: dict[str, Any] | None
    total: int


class ListedReject(NamedTuple):
    """An order that could not be stored, and when it is tried again; `total` is how many there are."""

    omnitron_id: str
    number: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    reason: str
    dismissed_at: datetime | None
    dismissed_by: str | None
    dismissed_reason: str | None
    total: int


def waiting_orders(kind: OrderList, *, since: datetime | None, limit: int) -> list[ListedOrder]:
    """The first orders of a kind, `REJECTED` aside, that were placed at or after `since`.

    By the indexes orders_held, orders_waiting and orders_line_changes.
    """
    placed = [Order.placed_at >= since] if since is not None else []
    page = first_rows(Order, (Order.placed_at, Order.id), _condition(kind), *placed, limit=limit)
    event = latest_event(ORDER)
    query = (
        Order.select(
            Order.number,
            Order.omnitron_id,
            Order.state,
            Order.placed_at,
            Order.next_plan_at,
            event.c.content,
            page.c.total,
        )
        .join(page, on=page.c.id == Order.id)
        .join_from(Order, event, JOIN.LEFT_LATERAL, on=True)
        .order_by(page.c.position)
    )
    return fetch(query, ListedOrder)


def rejected_orders(*, since: datetime | None, limit: int, are_dismissed: bool = False) -> list[ListedReject]:
    """The first rejected orders that were first seen at or after `since`; there are few of them.

    These are the ones that nobody has dismissed, or the ones that somebody has.
    """
    reject = RejectedOrder
    conditions = [reject.dismissed_at.is_null(not are_dismissed)]
    conditions += [reject.first_seen_at >= since] if since is not None else []
    page = first_rows(reject, (reject.first_seen_at, reject.id), *conditions, limit=limit)
    query = (
        reject.select(*columns_of(reject, ListedReject, besides=("total",)), page.c.total)
        .join(page, on=page.c.id == reject.id)
        .order_by(page.c.position)
    )
    return fetch(query, ListedReject)


def _condition(kind: OrderList) -> Any:
    if kind is OrderList.CHANGED:
        return ~Order.line_changes.is_null()
    return among(Order.state, [OrderState(kind.value)])
