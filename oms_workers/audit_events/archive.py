"""The archive: old events are moved from `audit_events` to `archived_audit_events`, which keeps their ids.

A batch is one statement that deletes events and inserts what it has deleted. So an event is never in both
tables, nor in neither, wherever the process is killed.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from peewee import Select, fn

from oms_workers.audit_events.models import ArchivedAuditEvent, AuditEvent
from oms_workers.retention import Retention, count_removed, remove_in_batches

ARCHIVE_OLD_AUDIT_EVENTS = "django_audit_events.tasks.archive_old_audit_events"

#: A statement of so many events takes some 0.1 s, and nobody waits for them.
BATCH = 10_000

_COLUMNS = tuple(AuditEvent._meta.columns)


def _move(limit: Retention, chosen: Any) -> Any:
    """The statement that moves a batch: from its first event's time to its last one's, those included.

    So all events of one instant move together: those of one block of the door, which are bounded.

    Events are never changed, so that nothing has to be locked, which would double the work. Where another
    process moves some of them first, these are moved once.
    """
    oldest = chosen.columns(limit.moment.alias("at")).alias("oldest")
    ends = Select([oldest], [fn.MIN(oldest.c.at), fn.MAX(oldest.c.at)])
    batch = ends.cte("batch", columns=["first", "last"], materialized=True)
    first, last = (Select([batch], [getattr(batch.c, end)]) for end in ("first", "last"))
    kept = [AuditEvent._meta.columns[name] for name in _COLUMNS]
    deletion = AuditEvent.delete().where(AuditEvent.at >= first, AuditEvent.at <= last)
    deleted = deletion.returning(*kept).cte("deleted", columns=_COLUMNS)
    values = [*(getattr(deleted.c, name) for name in _COLUMNS), fn.statement_timestamp()]
    known = ArchivedAuditEvent._meta.columns
    insertion = ArchivedAuditEvent.insert_from(
        Select([deleted], values), [known[name] for name in (*_COLUMNS, "archived_at")]
    )
    moved = insertion.returning(ArchivedAuditEvent.at).cte("moved", columns=["moment"])
    return count_removed(limit, moved, batch, deleted, moved)


EVENTS = Retention(
    model=AuditEvent,
    what="events of the audit trail",
    becomes="archived",
    moment=AuditEvent.at,
    days="audit_events_older_than_days",
    most="audit_events_max_rows",
    task=ARCHIVE_OLD_AUDIT_EVENTS,
    remove=_move,
    is_own_work=True,
)

ARCHIVE = Retention(
    model=ArchivedAuditEvent,
    what="archived events",
    moment=ArchivedAuditEvent.at,
    days="archived_audit_events_days",
    most="archived_audit_events_max_rows",
    task=ARCHIVE_OLD_AUDIT_EVENTS,
)

RETENTIONS = (EVENTS, ARCHIVE)


def archive(
    now: datetime, *, older_than: timedelta, should_stop: Callable[[], bool], batch: int = BATCH
) -> int:
    """Move the events that are older to the archive, a batch in a statement; returns how many.

    An event exactly so old stays. Also those move that are more than `audit_events` may have. Needs a
    `connection()` around it.
    """
    return remove_in_batches(EVENTS, now, age=older_than, should_stop=should_stop, batch=batch)
