"""Storing what was pulled: each order in one transaction, the same order any number of times.

An order that is waiting takes over whatever changed. Changed lines of an order that was planned are kept
beside it and shown, never planned again silently. What cannot be stored is kept whole, with the reason.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from peewee import DataError, IntegrityError

from oms_workers.audit_events.record import Event, record
from oms_workers.database import execute, jsonb, row, rows, transaction
from oms_workers.orders.models import CLOSED_LINE_STATUSES, OrderState
from oms_workers.orders.parsing import (
    PulledLine,
    PulledOrder,
    UnstorableOrderError,
    key_of,
    modification_of,
    parse,
)

ACTOR = "oms.orders.tasks.get_orders_from_omnitron"

#: Orders whose lines may still be replaced: nothing was packed from them.
REPLACEABLE = (OrderState.WAITING, OrderState.HELD)

#: A reject without a date cannot say that it has changed, and is looked at again after this.
UNDATED_PAUSE = timedelta(hours=1)

_MAX_REASON_CHARACTERS = 500

#: In place of a reject's modification: no order has been modified then, so that it is fetched again.
_UNREAD = "unread"


class IntakeOutcome(StrEnum):
    """What became of a pulled order."""

    STORED = "stored"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"


def store(payload: Any, items: list[Any], *, now: datetime) -> IntakeOutcome:
    """Store an order with its items, or reject it; it is committed when this returns.

    Raises the database's errors only where it is the database that cannot work.
    """
    try:
        order = parse(payload, items, now=now)
        with transaction():
            outcome = _insert(order, now) or _update(order, now)
            forget_rejections([str(order.omnitron_id)])
            return outcome
    except UnstorableOrderError as error:
        reason = str(error)
    except (DataError, IntegrityError, UnicodeError) as error:
        reason = f"the database refuses it: {str(error).splitlines()[0]}"
    _reject(payload, items, reason, now, modified_at=_raw_modification(payload))
    return IntakeOutcome.REJECTED


def seen_before(payloads: Sequence[Any]) -> dict[int, IntakeOutcome]:
    """By position, the orders of a page that need not be fetched again: not modified since we had them."""
    keys = [key_of(payload) for payload in payloads]
    stored = {
        (str(found.omnitron_id), found.modified_at)
        for found in rows(
            "SELECT omnitron_id, modified_at FROM orders WHERE omnitron_id = ANY(%s)",
            ([int(key) for key in keys if key.isdigit()],),
        )
    }
    rejected = {
        (found.omnitron_id, found.modified_at)
        for found in rows(
            """
            SELECT omnitron_id, modified_at
            FROM rejected_orders
            WHERE omnitron_id = ANY(%s)
              AND (modified_at IS NOT NULL OR last_seen_at > clock_timestamp() - %s::interval)
            """,
            (keys, UNDATED_PAUSE),
        )
    }
    seen = {}
    for position, (key, payload) in enumerate(zip(keys, payloads, strict=True)):
        modified_at = modification_of(payload)
        if (key, _raw_modification(payload)) in rejected:
            seen[position] = IntakeOutcome.REJECTED
        elif modified_at is not None and (key, modified_at) in stored:
            seen[position] = IntakeOutcome.UNCHANGED
    return seen


def forget_rejections(keys: Sequence[str]) -> None:
    """Orders that are stored are not rejected any more."""
    execute("DELETE FROM rejected_orders WHERE omnitron_id = ANY(%s)", ([*keys],))


def reject_unread(payload: Any, reason: str, *, now: datetime) -> None:
    """Show an order of which not all could be read, and look at it again whenever it is offered."""
    _reject(payload, [], reason, now, modified_at=_UNREAD)


def _insert(order: PulledOrder, now: datetime) -> IntakeOutcome | None:
    """Add the order and its items; None where it is there already."""
    inserted = row(
        """
        INSERT INTO orders (omnitron_id, number, status, state, next_plan_at, channel, placed_at, promised_at,
                            priority, modified_at, received_at, facts, payload)
        VALUES (%(omnitron_id)s, %(number)s, %(status)s, 'waiting', %(now)s, %(channel)s, %(placed_at)s,
                %(promised_at)s, %(priority)s, %(modified_at)s, %(now)s, %(facts)s, %(payload)s)
        ON CONFLICT (omnitron_id) DO NOTHING
        RETURNING id
        """,
        _columns(order, now),
    )
    if inserted is None:
        return None
    _insert_lines(inserted.id, order.lines)
    content = {"number": order.number, "lines": len(order.lines)}
    record([Event("order", inserted.id, "received", content)], actor=ACTOR, at=now)
    return IntakeOutcome.STORED


def _update(order: PulledOrder, now: datetime) -> IntakeOutcome:
    known = row(
        """
        SELECT id, state, modified_at, payload, line_changes
        FROM orders
        WHERE omnitron_id = %s
        FOR UPDATE
        """,
        (order.omnitron_id,),
    )
    assert known is not None, "orders are never deleted"
    if known.modified_at and order.modified_at and order.modified_at < known.modified_at:
        return IntakeOutcome.UNCHANGED
    known_lines = _lines_of(known.id)
    same_payload = known.payload == order.payload and known.modified_at == order.modified_at
    if same_payload and known_lines == order.lines:
        return IntakeOutcome.UNCHANGED
    replaceable = known.state in REPLACEABLE
    # A plan asks what is to be sent, and how much of it; prices and the hub's progress do not touch it.
    lines_differ = known_lines != order.lines if replaceable else _asked(known_lines) != _asked(order.lines)
    replace = lines_differ and replaceable
    changes = _shown(order.lines) if lines_differ and not replace else None
    if lines_differ and known.line_changes == changes and known.payload == order.payload:
        return IntakeOutcome.UNCHANGED
    _update_order(known.id, order, now, changes, replace=replace)
    if not lines_differ:
        _update_lines(order.lines)
    content: dict[str, Any] = {"modified_at": order.modified_at.isoformat() if order.modified_at else None}
    if lines_differ:
        content["lines"] = _shown(order.lines)
    action = (
        "updated" if not lines_differ else "lines_replaced" if replace else "lines_changed_after_planning"
    )
    record([Event("order", known.id, action, content)], actor=ACTOR, at=now)
    return IntakeOutcome.UPDATED


def _update_order(id_: int, order: PulledOrder, now: datetime, changes: Any, *, replace: bool) -> None:
    execute(
        """
        UPDATE orders
        SET number = %(number)s, status = %(status)s, channel = %(channel)s, placed_at = %(placed_at)s,
            promised_at = %(promised_at)s, priority = %(priority)s, modified_at = %(modified_at)s,
            facts = %(facts)s, payload = %(payload)s, line_changes = %(changes)s,
            plan_version = plan_version + %(moved)s,
            -- New lines are a new question: an order that is held for its old ones is planned again.
            state = CASE WHEN %(moved)s > 0 AND state = 'held' THEN 'waiting' ELSE state END,
            next_plan_at = CASE WHEN %(moved)s > 0 THEN %(now)s ELSE next_plan_at END
        WHERE id = %(id)s
        """,
        {
            **_columns(order, now),
            "id": id_,
            "changes": None if changes is None else jsonb(changes),
            "moved": int(replace),
        },
    )
    if replace:
        execute("DELETE FROM order_items WHERE order_id = %s", (id_,))
        _insert_lines(id_, order.lines)


def _asked(lines: Sequence[PulledLine]) -> list[tuple[int, str, int, bool]]:
    """What is asked for by each line, and whether it still is."""
    return [
        (line.omnitron_id, line.sku, line.quantity, line.status in CLOSED_LINE_STATUSES) for line in lines
    ]


def _update_lines(lines: Sequence[PulledLine]) -> None:
    execute(
        """
        UPDATE order_items
        SET status = line.status, price = line.price
        FROM unnest(%s::bigint[], %s::text[], %s::numeric[]) AS line (omnitron_id, status, price)
        WHERE order_items.omnitron_id = line.omnitron_id
        """,
        (
            [line.omnitron_id for line in lines],
            [line.status for line in lines],
            [line.price for line in lines],
        ),
    )


def _columns(order: PulledOrder, now: datetime) -> dict[str, Any]:
    return {
        "omnitron_id": order.omnitron_id,
        "number": order.number,
        "status": order.status,
        "channel": order.facts.get("channel"),
        "placed_at": order.placed_at,
        "promised_at": order.promised_at,
        "priority": order.priority,
        "modified_at": order.modified_at,
        "facts": jsonb(order.facts),
        "payload": jsonb(order.payload),
        "now": now,
    }


def _insert_lines(order_id: int, lines: Sequence[PulledLine]) -> None:
    execute(
        """
        INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status, price)
        SELECT %s, line.*
        FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::text[], %s::numeric[]) AS line
        """,
        (order_id, *(list(column) for column in zip(*lines, strict=True))),
    )


def _lines_of(order_id: int) -> tuple[PulledLine, ...]:
    found = rows(
        """
        SELECT omnitron_id, sku, quantity, status, price
        FROM order_items
        WHERE order_id = %s
        ORDER BY omnitron_id
        """,
        (order_id,),
    )
    return tuple(PulledLine(*line) for line in found)


def _shown(lines: Sequence[PulledLine]) -> list[dict[str, Any]]:
    return [
        {"omnitron_id": line.omnitron_id, "sku": line.sku, "quantity": line.quantity, "status": line.status}
        for line in lines
    ]


def _reject(payload: Any, items: list[Any], reason: str, now: datetime, *, modified_at: str | None) -> None:
    """Keep the order as it came: escaped JSON is plain ASCII, whatever was in it."""
    whole = json.dumps({"order": payload, "items": items})
    execute(
        """
        INSERT INTO rejected_orders (omnitron_id, modified_at, reason, payload, first_seen_at, last_seen_at)
        VALUES (%(key)s, %(modified_at)s, %(reason)s, %(payload)s, %(now)s, %(now)s)
        ON CONFLICT (omnitron_id) DO UPDATE SET
            modified_at = excluded.modified_at,
            reason = excluded.reason,
            payload = excluded.payload,
            last_seen_at = excluded.last_seen_at
        """,
        {
            "key": key_of(payload),
            "modified_at": modified_at,
            "reason": _printable(reason)[:_MAX_REASON_CHARACTERS],
            "payload": whole,
            "now": now,
        },
    )


def _raw_modification(payload: Any) -> str | None:
    """The reject's `modified_date` as it came, readable or not: it only has to tell whether it moved."""
    value = payload.get("modified_date") if isinstance(payload, dict) else None
    return None if value is None else json.dumps(value)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
