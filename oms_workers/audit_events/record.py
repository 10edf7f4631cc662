"""Recording events, any number of them with one statement, in the caller's transaction."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from oms_workers.database import execute


class Event(NamedTuple):
    """What happened, in the past tense (`received`, `planned`), to an object of ours, by its id."""

    object_type: str
    object_id: int
    action: str
    content: dict[str, Any]


def record(events: Sequence[Event], *, actor: str, at: datetime) -> None:
    """Add the events to the audit log. `actor` is the task's path, the command or the operator."""
    if not events:
        return
    execute(
        """
        INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
        SELECT %s, %s, object_type, object_id, action, content::jsonb
        FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[])
            AS event (object_type, object_id, action, content)
        """,
        (
            at,
            actor,
            [event.object_type for event in events],
            [event.object_id for event in events],
            [event.action for event in events],
            [json.dumps(event.content) for event in events],
        ),
    )
