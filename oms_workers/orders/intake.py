"""Storing what was pulled: each order in one transaction, the same order any number of times.

A waiting order takes over whatever has changed. The changed lines of a planned order are kept beside it and
shown to a person; they never change a plan by themselves. What cannot be stored is kept as a rejected order.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from peewee import DataError, IntegrityError

from oms_workers.audit_events.door import Change, Door
from oms_workers.database import transaction
from oms_workers.orders.models import CLOSED_LINE_STATUSES, Order, OrderItem, OrderState
from oms_workers.orders.parsing import (
    PulledLine,
    PulledOrder,
    UnstorableOrderError,
    key_of,
    modification_of,
    parse,
)
from oms_workers.orders.rejections import (
    RejectedVersion,
    forget_rejections,
    raw_modification_of,
    reject,
    rejected_versions,
)
from oms_workers.orders.states import ORDER
from oms_workers.sets import fetch, fetch_one, for_change, one_of

ACTOR = "oms.orders.tasks.get_orders_from_omnitron"

#: States in which an order's lines may still be replaced: nothing was packed from them.
REPLACEABLE = (OrderState.WAITING, OrderState.HELD)


class IntakeOutcome(StrEnum):
    """What became of a pulled order."""

    STORED = "stored"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"


class _NewOrder(NamedTuple):
    id: int
    omnitron_id: int
    state: OrderState
    next_plan_at: datetime
    received_at: datetime
    number: str
    status: str
    channel: str | None
    placed_at: datetime
    promised_at: datetime | None
    priority: int
    modified_at: datetime | None
    facts: Mapping[str, str]
    payload: Mapping[str, Any]


class _StoredOrder(NamedTuple):
    id: int
    state: OrderState
    modified_at: datetime | None
    payload: dict[str, Any]
    line_changes: list[dict[str, Any]] | None


class _StoredVersion(NamedTuple):
    omnitron_id: int
    modified_at: datetime | None


class _LineProgress(NamedTuple):
    omnitron_id: int
    status: str
    price: Decimal | None


def store(payload: Any, items: list[Any], *, now: datetime) -> IntakeOutcome:
    """Store an order with its items, or reject it; either is committed when this returns.

    Raises a database error only where the database itself cannot work.
    """
    try:
        order = parse(payload, items, now=now)
        with transaction(), Door(ACTOR, now) as door:
            outcome = _insert(order, door) or _update(order, door)
            forget_rejections([str(order.omnitron_id)])
            return outcome
    except UnstorableOrderError as error:
        reason = str(error)
    except (DataError, IntegrityError, UnicodeError) as error:
        reason = f"the database refuses it: {str(error).splitlines()[0]}"
    reject(payload, items, reason, now=now)
    return IntakeOutcome.REJECTED


def seen_before(payloads: Sequence[Any]) -> dict[int, IntakeOutcome]:
    """The orders of a page that need not be fetched again, by position: the hub has not modified them."""
    keys = [key_of(payload) for payload in payloads]
    stored, rejected = _stored_versions(keys), rejected_versions(keys)
    seen = {}
    for position, (key, payload) in enumerate(zip(keys, payloads, strict=True)):
        modified_at = modification_of(payload)
        if RejectedVersion(key, raw_modification_of(payload)) in rejected:
            seen[position] = IntakeOutcome.REJECTED
        elif modified_at is not None and (key, modified_at) in stored:
            seen[position] = IntakeOutcome.UNCHANGED
    return seen


def _insert(order: PulledOrder, door: Door) -> IntakeOutcome | None:
    """Add the order and its lines; None where the order is there already."""
    (id_,) = Order.next_ids(1)
    new = _NewOrder(id_, order.omnitron_id, OrderState.WAITING, door.at, door.at, **_fields(order))
    content = {"number": order.number, "lines": len(order.lines)}
    if not door.create_missing(ORDER, [new], action="received", contents=[content]):
        return None
    OrderItem.insert_set(order.lines, order_id=id_)
    return IntakeOutcome.STORED


def _update(order: PulledOrder, door: Door) -> IntakeOutcome:
    """Take over what has changed since the order was stored."""
    known = _lock(order.omnitron_id)
    if known.modified_at and order.modified_at and order.modified_at < known.modified_at:
        return IntakeOutcome.UNCHANGED
    known_lines = _lines_of(known.id)
    same_payload = known.payload == order.payload and known.modified_at == order.modified_at
    if same_payload and known_lines == order.lines:
        return IntakeOutcome.UNCHANGED
    replaceable = known.state in REPLACEABLE
    # A plan depends on what is to be sent, and how much of it; not on prices, nor on the hub's progress.
    lines_differ = known_lines != order.lines if replaceable else _asked(known_lines) != _asked(order.lines)
    if not lines_differ:
        _update_progress(known, order, door)
    elif replaceable:
        _replace_lines(known, order, door)
    elif known.line_changes == _shown(order.lines) and known.payload == order.payload:
        return IntakeOutcome.UNCHANGED
    else:
        _show_line_changes(known, order, door)
    return IntakeOutcome.UPDATED


def _lock(omnitron_id: int) -> _StoredOrder:
    query = Order.select(Order.id, Order.state, Order.modified_at, Order.payload, Order.line_changes)
    known = fetch_one(for_change(query.where(Order.omnitron_id == omnitron_id)), _StoredOrder)
    assert known is not None, "orders are never deleted"
    return known


def _update_progress(known: _StoredOrder, order: PulledOrder, door: Door) -> None:
    """Take over all but the lines, and of these what changes no plan: their statuses and prices."""
    _update_order(known.id, order, line_changes=None)
    progress = [_LineProgress(line.omnitron_id, line.status, line.price) for line in order.lines]
    OrderItem.update_set(progress, key=("omnitron_id",))
    door.note(ORDER, known.id, "updated", _modification(order))


def _replace_lines(known: _StoredOrder, order: PulledOrder, door: Door) -> None:
    """Give the order its new lines. An order that was held for its old lines is planned again."""
    content = {**_modification(order), "lines": _shown(order.lines)}
    door.change(ORDER, [Change(known.id, known.state, OrderState.WAITING, "lines_replaced", content)])
    _update_order(known.id, order, line_changes=None, next_plan_at=door.at)
    OrderItem.delete().where(OrderItem.order == known.id).execute()
    OrderItem.insert_set(order.lines, order_id=known.id)


def _show_line_changes(known: _StoredOrder, order: PulledOrder, door: Door) -> None:
    """Keep the lines that the order was planned with, and the changed ones beside them."""
    changes = _shown(order.lines)
    _update_order(known.id, order, line_changes=changes)
    content = {**_modification(order), "lines": changes}
    door.note(ORDER, known.id, "lines_changed_after_planning", content)


def _update_order(id_: int, order: PulledOrder, **others: Any) -> None:
    Order.update(**_fields(order), **others).where(Order.id == id_).execute()


def _fields(order: PulledOrder) -> dict[str, Any]:
    """The columns that a pull may change."""
    return {
        "number": order.number,
        "status": order.status,
        "channel": order.facts.get("channel"),
        "placed_at": order.placed_at,
        "promised_at": order.promised_at,
        "priority": order.priority,
        "modified_at": order.modified_at,
        "facts": order.facts,
        "payload": order.payload,
    }


def _lines_of(order_id: int) -> tuple[PulledLine, ...]:
    line = OrderItem
    query = line.select(line.omnitron_id, line.sku, line.quantity, line.status, line.price)
    return tuple(fetch(query.where(line.order == order_id).order_by(line.omnitron_id), PulledLine))


def _asked(lines: Sequence[PulledLine]) -> list[tuple[int, str, int, bool]]:
    """What each line asks for, and whether the line is closed."""
    return [
        (line.omnitron_id, line.sku, line.quantity, line.status in CLOSED_LINE_STATUSES) for line in lines
    ]


def _shown(lines: Sequence[PulledLine]) -> list[dict[str, Any]]:
    return [
        {"omnitron_id": line.omnitron_id, "sku": line.sku, "quantity": line.quantity, "status": line.status}
        for line in lines
    ]


def _modification(order: PulledOrder) -> dict[str, str | None]:
    return {"modified_at": order.modified_at.isoformat() if order.modified_at else None}


def _stored_versions(keys: Sequence[str]) -> set[tuple[str, datetime | None]]:
    numbers = [int(key) for key in keys if key.isdigit()]
    query = Order.select(Order.omnitron_id, Order.modified_at).where(one_of(Order.omnitron_id, numbers))
    return {(str(order.omnitron_id), order.modified_at) for order in fetch(query, _StoredVersion)}
