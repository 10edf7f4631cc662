"""Rejected orders: what could not be stored, kept whole with the reason until the order can be stored.

A reject is tried again with pauses that grow from a minute to an hour, and at once when the hub modifies the
order. One that a person has dismissed is only tried again when the hub modifies it.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from oms_workers.errors import OmsError
from oms_workers.orders.models import RejectedOrder
from oms_workers.orders.parsing import key_of, number_of, raw_modification_of
from oms_workers.orders.soundness import without_depth
from oms_workers.sets import column, fetch, none_of, one_of

#: A pull comes each minute, and not to the millisecond: the first pause ends before the next one.
FIRST_PAUSE = timedelta(seconds=55)
LONGEST_PAUSE = timedelta(hours=1)

#: An order that could not be read whole may be whole a moment later. So often each pull tries it.
READINGS_WITHOUT_PAUSE = 5

#: What stands for a key in `omnitron_id` where the hub gave none: of these the hub cannot be asked.
#: The last counts the orders of which the hub gave nothing: today's first may be another than yesterday's.
UNREAD = "unread:"
KEYLESS = ("number:", "sha256:", UNREAD)

_MAX_REASON_CHARACTERS = 500


class NoRejectError(OmsError):
    """A name means no rejected order, or several."""


class Reject(NamedTuple):
    """An order that cannot be stored: what the hub gave of it, and why.

    Where `key` is given, it stands for an order of which the hub gave nothing. What `is_unread` could not be
    read whole.
    """

    payload: Any
    items: list[Any]
    reason: str
    is_unread: bool = False
    key: str | None = None

    @property
    def omnitron_id(self) -> str:
        return self.key or key_of(self.payload)


class RejectedVersion(NamedTuple):
    """A rejected order by the hub's key, its date as the hub wrote it, and when it may be tried again."""

    omnitron_id: str
    modified_at: str | None
    attempts: int
    next_attempt_at: datetime | None
    dismissed_at: datetime | None

    def is_done_with(self, modified_at: str | None, now: datetime) -> bool:
        """Whether the hub's version need not be tried now."""
        if modified_at != self.modified_at:
            return False
        is_put_off = self.next_attempt_at is not None and self.next_attempt_at > now
        return self.dismissed_at is not None or is_put_off


class _NewReject(NamedTuple):
    omnitron_id: str
    number: str | None
    modified_at: str | None
    reason: str
    payload: str
    attempts: int
    next_attempt_at: datetime
    dismissed_at: datetime | None


def pause_after(attempts: int) -> timedelta:
    """How long a version waits that has failed so often: a minute, twice as much each time, an hour."""
    doublings = min(max(attempts, 1) - 1, 10)
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2**doublings)


def reject(rejects: Sequence[Reject], *, now: datetime) -> None:
    """Keep orders that cannot be stored, and say when each is tried again."""
    # Of one key, the last counts: the statement may write each row once.
    # Sorted, since two pulls may be at the same orders.
    by_key = {each.omnitron_id: each for each in sorted(rejects, key=lambda each: each.omnitron_id)}
    if not by_key:
        return
    known = rejected_versions([*by_key])
    new = [_new(key, each, known.get(key), now) for key, each in by_key.items()]
    changing = ("number", "modified_at", "reason", "payload", "attempts", "next_attempt_at", "dismissed_at")
    insertion = RejectedOrder.insertion(new, first_seen_at=now, last_seen_at=now)
    preserved = [RejectedOrder._meta.columns[name] for name in (*changing, "last_seen_at")]
    insertion.on_conflict(conflict_target=[RejectedOrder.omnitron_id], preserve=preserved).execute()


def note_dismissed(keys: Sequence[str], *, now: datetime) -> None:
    """Omnitron still offers these, so that their dismissals are kept. It is noted once a day."""
    if keys:
        old = RejectedOrder.last_seen_at < now - timedelta(days=1)
        update = RejectedOrder.update({RejectedOrder.last_seen_at: now})
        update.where(one_of(RejectedOrder.omnitron_id, keys), old).execute()


def forget_rejections(keys: Sequence[str]) -> None:
    """Delete the rejections of orders that are stored now, or that nobody will get any more."""
    if keys:
        RejectedOrder.delete().where(one_of(RejectedOrder.omnitron_id, keys)).execute()


def forget_keyless(*, except_for: Sequence[str]) -> None:
    """Delete the rejections without a key of the hub that its whole list does not have any more."""
    starts = [RejectedOrder.omnitron_id.startswith(start) for start in KEYLESS]
    keyless = starts[0] | starts[1] | starts[2]
    RejectedOrder.delete().where(keyless, none_of(RejectedOrder.omnitron_id, except_for)).execute()


def rejected_versions(keys: Sequence[str]) -> dict[str, RejectedVersion]:
    """The rejected ones of these orders, by their keys."""
    query = RejectedOrder.select(
        RejectedOrder.omnitron_id,
        RejectedOrder.modified_at,
        RejectedOrder.attempts,
        RejectedOrder.next_attempt_at,
        RejectedOrder.dismissed_at,
    )
    found = fetch(query.where(one_of(RejectedOrder.omnitron_id, keys)), RejectedVersion)
    return {each.omnitron_id: each for each in found}


def due_rejections(*, except_for: Sequence[str], now: datetime, limit: int) -> list[str]:
    """The hub's keys of the rejects that are due, the longest due first, dismissed ones too."""
    is_due = RejectedOrder.next_attempt_at.is_null() | (RejectedOrder.next_attempt_at <= now)
    keyless = [~RejectedOrder.omnitron_id.startswith(start) for start in KEYLESS]
    query = RejectedOrder.select(RejectedOrder.omnitron_id).where(
        is_due, *keyless, none_of(RejectedOrder.omnitron_id, except_for)
    )
    return column(query.order_by(RejectedOrder.next_attempt_at).limit(limit))


def try_at_next_pull(keys: Sequence[str], *, now: datetime) -> None:
    """Let the next pull try these rejects, dismissed ones too."""
    update = RejectedOrder.update({RejectedOrder.next_attempt_at: now, RejectedOrder.dismissed_at: None})
    update.where(one_of(RejectedOrder.omnitron_id, keys)).execute()


def dismiss(keys: Sequence[str], *, by: str, reason: str, now: datetime) -> None:
    """Try these rejects no more, nor list them, until the hub modifies them; it says by whom and why."""
    update = RejectedOrder.update(
        {
            RejectedOrder.dismissed_at: now,
            RejectedOrder.dismissed_by: by,
            RejectedOrder.dismissed_reason: reason,
        }
    )
    update.where(one_of(RejectedOrder.omnitron_id, keys)).execute()


def find_reject(name: str) -> str:
    """The key of the reject with this key, or with this order number.

    Raises `NoRejectError` where there is none, and where several have the number.
    """
    query = RejectedOrder.select(RejectedOrder.omnitron_id)
    by_key = column(query.where(RejectedOrder.omnitron_id == name))
    found = by_key or column(query.where(RejectedOrder.number == name).order_by(RejectedOrder.id))
    if not found:
        raise NoRejectError(f"No order {name!r} is rejected; `oms rejects` lists those that are.")
    if len(found) > 1:
        keys = ", ".join(found)
        raise NoRejectError(f"{len(found)} rejected orders have the number {name!r}; give a key: {keys}.")
    return str(found[0])


def reasons_of(keys: Sequence[str]) -> dict[str, str]:
    """Why each of these orders is rejected, those that are."""
    query = RejectedOrder.select(RejectedOrder.omnitron_id, RejectedOrder.reason)
    return dict(fetch(query.where(one_of(RejectedOrder.omnitron_id, keys)), _Reason))


def put_off(keys: Sequence[str], *, now: datetime) -> None:
    """Let these rejects wait that could not be tried; the reason for which they are rejected stays."""
    known = rejected_versions(keys)
    new = [
        _PutOff(each.omnitron_id, each.attempts + 1, now + pause_after(each.attempts + 1))
        for each in known.values()
    ]
    RejectedOrder.update_set(new, key=("omnitron_id",))


class _Reason(NamedTuple):
    omnitron_id: str
    reason: str


class _PutOff(NamedTuple):
    omnitron_id: str
    attempts: int
    next_attempt_at: datetime


def _new(key: str, each: Reject, known: RejectedVersion | None, now: datetime) -> _NewReject:
    modified_at = raw_modification_of(each.payload)
    same = known if known is not None and known.modified_at == modified_at else None
    attempts = 1 + (same.attempts if same else 0)
    pause = pause_after(attempts)
    if each.is_unread:
        free = attempts < READINGS_WITHOUT_PAUSE
        pause = timedelta() if free else pause_after(attempts - READINGS_WITHOUT_PAUSE + 1)
    return _NewReject(
        key,
        number_of(each.payload),
        modified_at,
        _printable(each.reason)[:_MAX_REASON_CHARACTERS],
        _whole({"order": each.payload, "items": each.items}),
        attempts,
        now + pause,
        same.dismissed_at if same and not key.startswith(UNREAD) else None,
    )


def _whole(document: Any) -> str:
    """Escaped JSON, which is plain ASCII whatever the order holds."""
    try:
        return json.dumps(document)
    except RecursionError:
        return json.dumps(without_depth(document))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
