"""`oms replan`: plan packages again, now."""

import sys
from typing import Annotated

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.operators import operator
from oms_workers.cli.output import print_json
from oms_workers.cli.program import begin
from oms_workers.fulfilment.replanning_by_hand import Replanned, replan_by_hand, replan_location
from oms_workers.operation.services import answering


def replan(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ORDER|PACKAGE…", help="Packages, or orders with all that waits of them."),
    ] = None,
    location: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            callback=text("A code"),
            help="Send elsewhere what waits at this location, which is switched off.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Plan packages that wait for another plan now, without waiting for the schedule.

    Ends with status 1 where one of them still waits.

    Example: oms replan 100042 P43-1
    Example: oms replan --location KADIKOY
    """
    for name in names or ():
        text("A name")(name)
    if bool(names) == (location is not None):
        raise typer.BadParameter("Missing argument 'ORDER|PACKAGE…', or --location CODE instead of it.")
    begin()
    actor = operator()
    with answering("PostgreSQL"):
        if location is not None:
            found = replan_location(location, actor=actor)
        else:
            found = replan_by_hand(names or [], actor=actor)
    if as_json:
        print_json([each._asdict() for each in found])
    else:
        for each in found:
            print(_sentence(each))
        if not found:
            print("Nothing waits there.")
    if any(each.outcome != "replanned" for each in found):
        sys.exit(1)


def _sentence(each: Replanned) -> str:
    into = f" into {', '.join(each.packages)}" if each.packages else ""
    return f"{each.number} is {each.outcome}{into}."
