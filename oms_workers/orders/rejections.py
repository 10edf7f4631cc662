"""Rejected orders: what could not be stored, kept whole with the reason until the order can be stored."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.orders.models import RejectedOrder
from oms_workers.orders.parsing import key_of
from oms_workers.sets import fetch, one_of

#: A rejected order without a date cannot show that it was modified, so it is fetched again after this.
UNDATED_PAUSE = timedelta(hours=1)

_MAX_REASON_CHARACTERS = 500

#: Kept in place of the date of an order that was not read whole. It equals no date, so that every pull
#: fetches the order again.
_UNREAD = "unread"


class RejectedVersion(NamedTuple):
    """A rejected order by the hub's key, and its date as the hub wrote it."""

    omnitron_id: str
    modified_at: str | None


def reject(payload: Any, items: list[Any], reason: str, *, now: datetime) -> None:
    """Keep an order that cannot be stored; it is fetched again when the hub has modified it."""
    _keep(payload, items, reason, now, raw_modification_of(payload))


def reject_unread(payload: Any, reason: str, *, now: datetime) -> None:
    """Keep an order that could not be read whole; every pull fetches it again."""
    _keep(payload, [], reason, now, _UNREAD)


def forget_rejections(keys: Sequence[str]) -> None:
    """Delete the rejections of orders that are stored now."""
    RejectedOrder.delete().where(one_of(RejectedOrder.omnitron_id, keys)).execute()


def rejected_versions(keys: Sequence[str]) -> set[RejectedVersion]:
    """The versions of these orders that are rejected, and need not be fetched again."""
    is_dated = ~RejectedOrder.modified_at.is_null()
    is_recent = RejectedOrder.last_seen_at > fn.clock_timestamp() - UNDATED_PAUSE
    query = RejectedOrder.select(RejectedOrder.omnitron_id, RejectedOrder.modified_at)
    of_orders = query.where(one_of(RejectedOrder.omnitron_id, keys), is_dated | is_recent)
    return {*fetch(of_orders, RejectedVersion)}


def raw_modification_of(payload: Any) -> str | None:
    """The order's `modified_date` as the hub wrote it; it only has to tell whether it has changed."""
    value = payload.get("modified_date") if isinstance(payload, dict) else None
    return None if value is None else json.dumps(value)


def _keep(payload: Any, items: list[Any], reason: str, now: datetime, modified_at: str | None) -> None:
    insertion = RejectedOrder.insert(
        omnitron_id=key_of(payload),
        modified_at=modified_at,
        reason=_printable(reason)[:_MAX_REASON_CHARACTERS],
        # Escaped JSON is plain ASCII, whatever the order holds.
        payload=json.dumps({"order": payload, "items": items}),
        first_seen_at=now,
        last_seen_at=now,
    )
    insertion.on_conflict(
        conflict_target=[RejectedOrder.omnitron_id],
        preserve=[
            RejectedOrder.modified_at,
            RejectedOrder.reason,
            RejectedOrder.payload,
            RejectedOrder.last_seen_at,
        ],
    ).execute()


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
