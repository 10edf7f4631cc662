"""Storing what was pulled: a page in one transaction, the same order any number of times.

Where a page cannot be stored as a set, its orders are stored one by one, so that one bad order stops no
other. What cannot be stored is kept as a rejected order.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import DataError, IntegrityError

from oms_workers.audit_events.door import Door
from oms_workers.database import UNREACHABLE, is_unreachable, retry_transient, transaction
from oms_workers.orders.approval import left_out, why_not_approved
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.parsing import (
    PulledOrder,
    UnstorableOrderError,
    key_of,
    modification_of,
    parse,
    raw_modification_of,
)
from oms_workers.orders.rejections import (
    Reject,
    forget_rejections,
    note_dismissed,
    reject,
    rejected_versions,
)
from oms_workers.orders.states import ORDER
from oms_workers.orders.updates import IntakeOutcome, fields_of, insert_lines, said_of, update_orders
from oms_workers.sets import fetch, one_of

__all__ = ["ACTOR", "IntakeOutcome", "Offer", "seen_before", "store", "store_all", "stored_keys"]

logger = logging.getLogger(__name__)

ACTOR = "oms.orders.tasks.get_orders_from_omnitron"

#: A lock that others hold for long, or a deadlock: the next pull comes in a minute.
ATTEMPTS = 2


class Offer(NamedTuple):
    """An order as Omnitron offers it, and its items."""

    payload: Any
    items: list[Any]


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


class _StoredVersion(NamedTuple):
    omnitron_id: int
    modified_at: datetime | None


class _Parsed(NamedTuple):
    position: int
    offer: Offer
    order: PulledOrder


def store(payload: Any, items: list[Any], *, now: datetime) -> IntakeOutcome:
    """Store one order with its items, or reject it; either is committed when this returns."""
    return store_all([Offer(payload, items)], now=now)[0]


def store_all(offers: Sequence[Offer], *, now: datetime, is_confirmed: bool = False) -> list[IntakeOutcome]:
    """Store orders, or reject them; returns what became of each, and all of it is committed.

    An order that is older than the stored one is stored only where it `is_confirmed` that it is the hub's.
    Raises a database error only where the database itself does not answer.
    """
    outcomes = [IntakeOutcome.REJECTED] * len(offers)
    parsed, rejects = _parse(offers, now)
    _commit_rejects(rejects, now)
    for batch in _with_distinct_keys(parsed):
        for each, outcome in _store_batch(batch, now, is_confirmed=is_confirmed):
            outcomes[each.position] = outcome
    return outcomes


def seen_before(payloads: Sequence[Any], *, now: datetime) -> dict[int, IntakeOutcome]:
    """The orders of a page that need not be fetched again, by position: stored ones that the hub has not
    modified, and rejected ones that are not due."""
    keys = [key_of(payload) for payload in payloads]
    stored, rejected = _stored_versions(keys), rejected_versions(keys)
    seen, dismissed = {}, []
    for position, (key, payload) in enumerate(zip(keys, payloads, strict=True)):
        modified_at = modification_of(payload)
        version = rejected.get(key)
        if version is not None and version.is_done_with(raw_modification_of(payload), now):
            seen[position] = IntakeOutcome.REJECTED
            if version.dismissed_at is not None:
                dismissed.append(key)
        elif modified_at is not None and stored.get(key) == modified_at:
            seen[position] = IntakeOutcome.UNCHANGED
    note_dismissed(dismissed, now=now)
    return seen


def stored_keys(keys: Sequence[str]) -> set[str]:
    """Those of these keys of the hub whose orders we have."""
    return {*_stored_versions(keys)}


def _parse(offers: Sequence[Offer], now: datetime) -> tuple[list[_Parsed], list[Reject]]:
    parsed, rejects = [], []
    for position, offer in enumerate(offers):
        try:
            parsed.append(_Parsed(position, offer, parse(*offer, now=now)))
        except UnstorableOrderError as error:
            rejects.append(Reject(*offer, reason=str(error)))
    return parsed, rejects


def _with_distinct_keys(parsed: Sequence[_Parsed]) -> Iterator[list[_Parsed]]:
    """Batches that have each order once; a page that shifted may have one twice."""
    batch: dict[int, _Parsed] = {}
    for each in parsed:
        if each.order.omnitron_id in batch:
            yield [*batch.values()]
            batch = {}
        batch[each.order.omnitron_id] = each
    if batch:
        yield [*batch.values()]


def _store_batch(
    batch: Sequence[_Parsed], now: datetime, *, is_confirmed: bool
) -> Iterable[tuple[_Parsed, IntakeOutcome]]:
    if len(batch) > 1:
        try:
            outcomes = retry_transient(lambda: _store_set(batch, now, is_confirmed), attempts=ATTEMPTS)
            return [(each, outcomes[each.order.omnitron_id]) for each in batch]
        except Exception as error:
            if is_unreachable(error):
                raise
            logger.warning(
                "A page cannot be stored at once, and is stored order by order: %s", _first_line(error)
            )
    return [(each, _store_alone(each, now, is_confirmed=is_confirmed)) for each in batch]


def _store_alone(each: _Parsed, now: datetime, *, is_confirmed: bool) -> IntakeOutcome:
    key = each.order.omnitron_id
    try:
        return retry_transient(lambda: _store_set([each], now, is_confirmed), attempts=ATTEMPTS)[key]
    except (DataError, IntegrityError, UnicodeError) as error:
        reason = f"the database refuses it: {_first_line(error)}"
        _commit_rejects([Reject(*each.offer, reason=reason)], now)
        return IntakeOutcome.REJECTED
    except UNREACHABLE as error:
        if is_unreachable(error):
            raise
        logger.warning("Order %s of Omnitron has to wait: %s", key, error)
    except Exception:
        logger.exception("Order %s of Omnitron cannot be stored.", key)
    return IntakeOutcome.FAILED


def _commit_rejects(rejects: Sequence[Reject], now: datetime) -> None:
    if rejects:
        with transaction():
            reject(rejects, now=now)


def _store_set(batch: Sequence[_Parsed], now: datetime, is_confirmed: bool) -> dict[int, IntakeOutcome]:  # noqa: FBT001
    """Store orders in one transaction; returns what became of each, by its key."""
    orders = {each.order.omnitron_id: each for each in sorted(batch, key=lambda each: each.order.omnitron_id)}
    outcomes = dict.fromkeys(orders, IntakeOutcome.STORED)
    with transaction(), Door(ACTOR, now) as door:
        known = {int(key) for key in _stored_versions([str(key) for key in orders])}
        rejects = [*_not_approved(each for key, each in orders.items() if key not in known)]
        reject(rejects, now=now)
        rejected = {int(each.omnitron_id) for each in rejects}
        outcomes.update(dict.fromkeys(rejected, IntakeOutcome.REJECTED))
        missing = [each.order for key, each in orders.items() if key not in known | rejected]
        created = _insert(missing, door)
        rest = [each.order for key, each in orders.items() if key not in created | rejected]
        outcomes.update(update_orders(rest, door, is_confirmed=is_confirmed))
        unsettled = (IntakeOutcome.REJECTED, IntakeOutcome.OLDER)
        forget_rejections([str(key) for key, outcome in outcomes.items() if outcome not in unsettled])
    for each in batch:
        for remark in each.order.remarks:
            logger.warning("Order %s of Omnitron: %s.", each.order.omnitron_id, remark)
    return outcomes


def _not_approved(batch: Iterable[_Parsed]) -> Iterator[Reject]:
    """New orders of which nothing is to be sent; one that is stored already is held."""
    for each in batch:
        why = why_not_approved(each.order.status, [line.status for line in each.order.lines])
        if why is not None:
            yield Reject(*each.offer, reason=why)


def _insert(orders: Sequence[PulledOrder], door: Door) -> set[int]:
    """Add new orders and their lines; returns the keys of those that were not there yet."""
    ids = Order.next_ids(len(orders))
    new = [
        _NewOrder(id_, order.omnitron_id, OrderState.WAITING, door.at, door.at, **fields_of(order))
        for id_, order in zip(ids, orders, strict=True)
    ]
    contents = [_received(order) for order in orders]
    created = {*door.create_missing(ORDER, new, action="received", contents=contents)}
    stored = [(id_, order) for id_, order in zip(ids, orders, strict=True) if id_ in created]
    insert_lines(stored)
    return {order.omnitron_id for _, order in stored}


def _received(order: PulledOrder) -> dict[str, Any]:
    content = {"number": order.number, "lines": len(order.lines), **said_of(order)}
    waiting = left_out((line.sku, line.status) for line in order.lines)
    return {**content, "not_planned": waiting} if waiting else content


def _stored_versions(keys: Sequence[str]) -> dict[str, datetime | None]:
    numbers = [int(key) for key in keys if key.isdigit()]
    query = Order.select(Order.omnitron_id, Order.modified_at).where(one_of(Order.omnitron_id, numbers))
    return {str(order.omnitron_id): order.modified_at for order in fetch(query, _StoredVersion)}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
