"""What happened to an object, the archive included; rooms say by which names their objects are asked for.

    register_audited(orders_called)

A finder is given a name, and returns the objects that it means: none, or several.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from oms_workers.audit_events.models import AuditTrail
from oms_workers.errors import OmsError
from oms_workers.sets import columns_of, exists, fetch, one_of

#: The largest id that PostgreSQL has.
_MOST_ID = 2**63 - 1


class UnknownObjectError(OmsError):
    """Nothing is called so, and nothing has happened to an object of this type and id."""


class DoubleFinderError(OmsError):
    """A finder is registered twice."""


class Audited(NamedTuple):
    """An object of which the trail may have events: its type and id as events have them, and its name."""

    object_type: str
    object_id: int
    name: str


class HistoricEvent(NamedTuple):
    """One thing that happened."""

    uuid: UUID
    at: datetime
    actor: str
    object_type: str
    object_id: int
    action: str
    content: dict[str, Any]
    archived_at: datetime | None


class History(NamedTuple):
    """The newest events of some objects, the oldest of them first, and how many more there are."""

    objects: list[Audited]
    events: list[HistoricEvent]
    more: int


Finder = Callable[[str], Sequence[Audited]]

_finders: list[Finder] = []


def register_audited(*finders: Finder) -> None:
    """Let objects be asked for by name. Raises `DoubleFinderError`."""
    for finder in finders:
        if finder in _finders:
            raise DoubleFinderError(
                f"The finder {finder.__module__}.{finder.__qualname__} is registered twice."
            )
        _finders.append(finder)


def history_of(name: str, *, since: datetime | None, limit: int) -> History:
    """What happened to what is called so, or to `TYPE:ID`, which may be gone; needs a `connection()`.

    By the indexes audit_events_object and archived_audit_events_object. Raises `UnknownObjectError`.
    """
    objects = [found for finder in _finders for found in finder(name)] or _by_id(name)
    if not objects:
        raise UnknownObjectError(
            f"Nothing is called {name!r}. Of an object that is gone, ask by type and id, such as plan:42."
        )
    by_type: dict[str, list[int]] = {}
    for each in objects:
        by_type.setdefault(each.object_type, []).append(each.object_id)
    event = AuditTrail
    query = event.select(*columns_of(event, HistoricEvent)).where(
        reduce(
            or_, ((event.object_type == kind) & one_of(event.object_id, ids) for kind, ids in by_type.items())
        )
    )
    query = query if since is None else query.where(event.at >= since)
    newest = fetch(query.order_by(event.id.desc()).limit(limit), HistoricEvent)
    total = len(newest) if len(newest) < limit else query.count()
    return History(objects, newest[::-1], total - len(newest))


def _by_id(name: str) -> list[Audited]:
    """An object of which only events are left."""
    kind, _, digits = name.partition(":")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(digits) <= _MOST_ID):
        return []
    event = AuditTrail
    of_it = event.select(event.id).where(event.object_type == kind, event.object_id == int(digits))
    return [Audited(kind, int(digits), name)] if exists(of_it) else []
