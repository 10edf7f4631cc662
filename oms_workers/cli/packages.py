"""`oms packages`: the packages that wait, with the reason."""

from typing import Annotated, Any

import typer

from oms_workers.audit_events.door import name_of
from oms_workers.cli.listing import SHOWN, AsJson, Limit, Since, print_listing, since_when
from oms_workers.cli.output import age
from oms_workers.cli.program import begin
from oms_workers.database import connection, database_now
from oms_workers.operation.listings import list_packages
from oms_workers.operation.services import answering
from oms_workers.packages.listing import LISTED_STATES
from oms_workers.packages.models import PackageState


def packages(
    state: Annotated[str, typer.Option(help="Such as out_of_stock, needs_replan, blocked or waiting.")],
    since: Since = None,
    limit: Limit = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List the packages in a state, the longest waiting first, each with its age and the reason.

    Example: oms packages --state out_of_stock --since 2026-11-01
    """
    begin()
    wanted, after = _state(state), since_when(since)
    with answering("PostgreSQL"), connection():
        now = database_now()
        found = list_packages(wanted, since=after, limit=limit, now=now)

    def line(package: dict[str, Any]) -> tuple[object, ...]:
        return (
            package["number"],
            package["order"],
            package["location"],
            age(package["since"], now),
            package["replan_attempts"] or "",
            package["reason"],
        )

    columns = ("package", "order", "location", "since", "attempts to replan", "reason")
    print_listing(found, "packages", columns, line, as_json=as_json)


def _state(text: str) -> PackageState:
    known = {name_of(state): state for state in LISTED_STATES}
    if text not in known:
        raise typer.BadParameter(f"{text!r} is no state in which packages wait; there are {', '.join(known)}")
    return known[text]
