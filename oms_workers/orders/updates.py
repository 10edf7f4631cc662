"""Orders that are stored already and come again: what of each has changed, written in sets.

A waiting order takes over whatever has changed. The changed lines of a planned order are kept beside it and
shown to a person; they never change a plan by themselves. What Omnitron does not approve any more is held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, NamedTuple

from oms_workers.audit_events.door import Change, Door
from oms_workers.orders.approval import why_not_approved
from oms_workers.orders.models import (
    CLOSED_LINE_STATUSES,
    UNPAID_LINE_STATUSES,
    Order,
    OrderItem,
    OrderState,
)
from oms_workers.orders.parsing import PulledLine, PulledOrder
from oms_workers.orders.states import ORDER
from oms_workers.sets import columns_of, fetch, for_change, one_of

#: States in which an order's lines may still be replaced: nothing was packed from them.
REPLACEABLE = (OrderState.WAITING, OrderState.HELD)


class IntakeOutcome(StrEnum):
    """What became of a pulled order.

    `OLDER` is a version that is older than the stored one. It is stored only when the hub confirms it.
    `FAILED` is one that could not be stored for a reason that passes.
    """

    STORED = "stored"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    OLDER = "older"
    REJECTED = "rejected"
    FAILED = "failed"


class _StoredOrder(NamedTuple):
    id: int
    omnitron_id: int
    status: str
    state: OrderState
    modified_at: datetime | None
    payload: dict[str, Any]
    line_changes: list[dict[str, Any]] | None


class _StoredLine(NamedTuple):
    order_id: int
    omnitron_id: int
    sku: str
    quantity: int
    status: str
    price: Decimal | None


class _LineProgress(NamedTuple):
    omnitron_id: int
    status: str
    price: Decimal | None


class _NextPlan(NamedTuple):
    id: int
    next_plan_at: datetime


class _Written(Enum):
    """What of the order's lines is written."""

    PROGRESS = "their statuses and prices"
    REPLACED = "all of them, anew"
    SHOWN = "nothing: the changed ones are shown beside them"


@dataclass(frozen=True)
class _Update:
    """A stored order, its new version, and what follows from the difference."""

    known: _StoredOrder
    order: PulledOrder
    written: _Written
    change: Change | None = None

    @property
    def line_changes(self) -> list[dict[str, Any]] | None:
        return shown(self.order.lines) if self.written is _Written.SHOWN else None


def update_orders(
    orders: Sequence[PulledOrder], door: Door, *, is_confirmed: bool
) -> dict[int, IntakeOutcome]:
    """Take over what has changed since these orders were stored; returns what became of each, by its key.

    A version that is older than the stored one is left alone, unless it `is_confirmed` that it is the hub's.
    """
    if not orders:
        return {}
    known = _lock([order.omnitron_id for order in orders])
    lines = _lines_of([each.id for each in known.values()])
    outcomes, updates = {}, []
    for order in orders:
        stored = known[order.omnitron_id]
        is_older = bool(stored.modified_at and order.modified_at and order.modified_at < stored.modified_at)
        if is_older and not is_confirmed:
            outcomes[order.omnitron_id] = IntakeOutcome.OLDER
            continue
        update = _compare(stored, lines.get(stored.id, ()), order)
        outcomes[order.omnitron_id] = IntakeOutcome.UPDATED if update else IntakeOutcome.UNCHANGED
        updates += [update] if update else []
    _write(updates, door)
    return outcomes


def fields_of(order: PulledOrder) -> dict[str, Any]:
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


def said_of(order: PulledOrder) -> dict[str, Any]:
    """What an event says of the order's version."""
    return {"remarks": [*order.remarks]} if order.remarks else {}


def shown(lines: Sequence[PulledLine]) -> list[dict[str, Any]]:
    return [
        {"omnitron_id": line.omnitron_id, "sku": line.sku, "quantity": line.quantity, "status": line.status}
        for line in lines
    ]


def _compare(known: _StoredOrder, lines: tuple[PulledLine, ...], order: PulledOrder) -> _Update | None:
    """What is to be done about the order, or None where nothing has changed."""
    same_payload = known.payload == order.payload and known.modified_at == order.modified_at
    if same_payload and lines == order.lines:
        return None
    if known.state in REPLACEABLE:
        return _compare_replaceable(known, lines, order)
    # A plan depends on what is to be sent, and how much of it; not on prices, nor on the hub's progress.
    if _asked(lines) == _asked(order.lines):
        return _Update(known, order, _Written.PROGRESS)
    if known.line_changes == shown(order.lines) and known.payload == order.payload:
        return None
    return _Update(known, order, _Written.SHOWN)


def _compare_replaceable(known: _StoredOrder, lines: tuple[PulledLine, ...], order: PulledOrder) -> _Update:
    before = why_not_approved(known.status, [line.status for line in lines])
    now = why_not_approved(order.status, [line.status for line in order.lines])
    written = _Written.PROGRESS if lines == order.lines else _Written.REPLACED
    after, action, content = known.state, "", {**_modification(order), **said_of(order)}
    if written is _Written.REPLACED:
        # An order that was held for its old lines is planned again.
        after, action = OrderState.WAITING, "lines_replaced"
        content["lines"] = shown(order.lines)
    elif before and known.state is OrderState.HELD:
        after, action = OrderState.WAITING, "approved"
    if now and (now != before or known.state is OrderState.WAITING or action == "lines_replaced"):
        after, action = OrderState.HELD, "held"
        content["reason"] = now
    elif now:
        after, action = known.state, ""
    change = Change(known.id, known.state, after, action, content) if action else None
    return _Update(known, order, written, change)


def _lock(keys: Sequence[int]) -> dict[int, _StoredOrder]:
    query = Order.select(*columns_of(Order, _StoredOrder)).where(one_of(Order.omnitron_id, keys))
    found = fetch(for_change(query.order_by(Order.id)), _StoredOrder)
    return {each.omnitron_id: each for each in found}


def _lines_of(order_ids: Sequence[int]) -> dict[int, tuple[PulledLine, ...]]:
    line = OrderItem
    query = line.select(line.order, line.omnitron_id, line.sku, line.quantity, line.status, line.price)
    lines: dict[int, list[PulledLine]] = {}
    for found in fetch(query.where(one_of(line.order, order_ids)).order_by(line.omnitron_id), _StoredLine):
        lines.setdefault(found.order_id, []).append(PulledLine(*found[1:]))
    return {order_id: tuple(own) for order_id, own in lines.items()}


def _write(updates: Sequence[_Update], door: Door) -> None:
    door.change(ORDER, [update.change for update in updates if update.change])
    for update in updates:
        if update.change is None:
            _note(update, door)
    Order.update_set([_row(update) for update in updates])
    again = [each for each in updates if each.change and each.change.after is OrderState.WAITING]
    Order.update_set([_NextPlan(each.known.id, door.at) for each in again])
    _write_lines(updates)


def _note(update: _Update, door: Door) -> None:
    content = {**_modification(update.order), **said_of(update.order)}
    if update.written is _Written.SHOWN:
        door.note(
            ORDER,
            update.known.id,
            "lines_changed_after_planning",
            {**content, "lines": update.line_changes},
        )
    else:
        door.note(ORDER, update.known.id, "updated", content)


def _row(update: _Update) -> Any:
    fields = {"id": update.known.id, **fields_of(update.order), "line_changes": update.line_changes}
    return _Row(**fields)


class _Row(NamedTuple):
    id: int
    number: str
    status: str
    channel: str | None
    placed_at: datetime
    promised_at: datetime | None
    priority: int
    modified_at: datetime | None
    facts: Mapping[str, str]
    payload: Mapping[str, Any]
    line_changes: list[dict[str, Any]] | None


def _write_lines(updates: Sequence[_Update]) -> None:
    progress = [each for each in updates if each.written is _Written.PROGRESS]
    OrderItem.update_set(
        [
            _LineProgress(line.omnitron_id, line.status, line.price)
            for each in progress
            for line in each.order.lines
        ],
        key=("omnitron_id",),
    )
    replaced = [each for each in updates if each.written is _Written.REPLACED]
    if replaced:
        gone = one_of(OrderItem.order, [each.known.id for each in replaced])
        OrderItem.delete().where(gone).execute()
        insert_lines([(each.known.id, each.order) for each in replaced])


def insert_lines(orders: Sequence[tuple[int, PulledOrder]]) -> None:
    """Insert the lines of orders, which come with their ids."""
    OrderItem.insert_set([_StoredLine(id_, *line) for id_, order in orders for line in order.lines])


def _asked(lines: Sequence[PulledLine]) -> list[tuple[int, str, int, bool, bool]]:
    """What each line asks for, and whether it is closed, or not paid yet."""
    return [
        (
            line.omnitron_id,
            line.sku,
            line.quantity,
            line.status in CLOSED_LINE_STATUSES,
            line.status in UNPAID_LINE_STATUSES,
        )
        for line in lines
    ]


def _modification(order: PulledOrder) -> dict[str, Any]:
    return {"modified_at": order.modified_at.isoformat() if order.modified_at else None}
