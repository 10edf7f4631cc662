"""What the commands that list have in common: their options, and how a list is printed."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from oms_workers.backlog import MOST_COUNTED
from oms_workers.cli.arguments import text
from oms_workers.cli.instants import instant
from oms_workers.cli.output import console, print_json, print_table

Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="ISO", callback=text("--since"), help="Only what is not older than this instant."
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many at the most.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]

#: How many are listed unless `--limit` says otherwise; more than a person reads at once.
SHOWN = 50


def since_when(since: str | None) -> datetime | None:
    """What `--since` says, or None."""
    return None if since is None else instant(since)


def print_listing(
    found: dict[str, Any],
    name: str,
    columns: Sequence[str],
    line: Callable[[dict[str, Any]], Sequence[object]],
    *,
    as_json: bool,
) -> None:
    """Print the list `name` of what was found, and how many more there are."""
    if as_json:
        print_json(found)
        return
    if not found[name]:
        console().print(f"There are no such {name}.", markup=False)
        return
    print_table(columns, [line(each) for each in found[name]])
    if found["more"]:
        more = f"{found['more']:,}" if found["more"] <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"
        console().print(f"and {more} more; see --limit and --since", markup=False)
