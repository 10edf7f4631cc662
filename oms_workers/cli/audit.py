"""`oms audit`: what happened to an object, and who did it."""

from typing import Annotated, Any

import typer

from oms_workers.audit_events.history import history_of
from oms_workers.cli.arguments import text
from oms_workers.cli.listing import SHOWN, AsJson, Limit, Since, print_listing, since_when
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.operation.services import answering

#: What of an event's content has a column of its own.
_IN_COLUMNS = ("before", "after", "state", "reason")


def audit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="OBJECT",
            help="An order, a package or a transfer by its name; or TYPE:ID, such as plan:42.",
            callback=text("OBJECT"),
        ),
    ],
    since: Since = None,
    limit: Limit = SHOWN,
    as_json: AsJson = False,
) -> None:
    """Show what happened to an order, a package or a transfer, the archive included.

    An order's history has that of its plans in it. Where there are too many events, the newest are shown.

    Example: oms audit 100042
    Example: oms audit P42-1 --since 2026-11-01 --json
    """
    begin()
    after = since_when(since)
    with answering("PostgreSQL"), connection():
        found = history_of(name, since=after, limit=limit)
    names = {(each.object_type, each.object_id): each.name for each in found.objects}
    events = [
        {**event._asdict(), "uuid": str(event.uuid), "name": names[event.object_type, event.object_id]}
        for event in found.events
    ]
    columns = ("when, in UTC", "what", "action", "from", "to", "by", "why", "more")
    print_listing({"events": events, "more": found.more}, "events", columns, _line, as_json=as_json)


def _line(event: dict[str, Any]) -> tuple[object, ...]:
    content = event["content"]
    rest = {key: value for key, value in content.items() if key not in _IN_COLUMNS and value is not None}
    return (
        f"{event['at']:%Y-%m-%d %H:%M:%S}",
        f"{event['object_type']} {event['name']}",
        event["action"],
        content.get("before"),
        content.get("after") or content.get("state"),
        event["actor"],
        content.get("reason"),
        ", ".join(f"{key} {value}" for key, value in rest.items()),
    )
