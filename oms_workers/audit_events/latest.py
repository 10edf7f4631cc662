"""The newest event of an object, which says why it is as it is."""

from collections.abc import Mapping
from typing import Any

from oms_workers.audit_events.door import Subject
from oms_workers.audit_events.models import AuditTrail

#: Events that say nothing of why a state is as it is.
NO_NEWS = ("updated", "lines_changed_after_planning")


def latest_event(subject: Subject) -> Any:
    """The newest event of each object of the query, as a table `event` to join laterally.

    By the indexes audit_events_object and archived_audit_events_object.
    """
    event = AuditTrail
    return (
        event.select(event.action, event.at, event.content)
        .where(
            event.object_type == subject.name,
            event.object_id == subject.model._meta.columns["id"],
            event.action.not_in(NO_NEWS),
        )
        .order_by(event.id.desc())
        .limit(1)
        .alias("event")
    )


def said_reason(content: Mapping[str, Any] | None) -> str | None:
    """The reason that whoever caused the event gave, or what went wrong, in the words of the event."""
    said = content or {}
    return said.get("reason") or said.get("problem")
