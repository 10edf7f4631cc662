"""`oms replan`: plan packages again, now."""

import sys
from typing import Annotated

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.operators import operator
from oms_workers.cli.output import print_json
from oms_workers.cli.program import begin
from oms_workers.fulfilment.replanning_by_hand import Replanned, replan_by_hand
from oms_workers.operation.services import answering


def replan(
    names: Annotated[
        list[str],
        typer.Argument(metavar="ORDER|PACKAGE…", help="Packages, or orders with all that waits of them."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Plan packages that wait for another plan now, without waiting for the schedule.

    Ends with status 1 where one of them still waits.

    Example: oms replan 100042 P43-1
    """
    for name in names:
        text("A name")(name)
    begin()
    with answering("PostgreSQL"):
        found = replan_by_hand(names, actor=operator())
    if as_json:
        print_json([each._asdict() for each in found])
    else:
        for each in found:
            print(_sentence(each))
    if any(each.outcome != "replanned" for each in found):
        sys.exit(1)


def _sentence(each: Replanned) -> str:
    into = f" into {', '.join(each.packages)}" if each.packages else ""
    return f"{each.number} is {each.outcome}{into}."
