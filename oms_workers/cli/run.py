"""`oms run`: one task, now, in this process."""

import sys
from typing import Annotated

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.output import in_words, listed_in, print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.operation.services import answering
from oms_workers.scheduling import process, table
from oms_workers.scheduling.actor import run_manually


def run(
    name: Annotated[str, typer.Argument(help="The task's name, env_key or path.", callback=text("NAME"))],
    older_than: Annotated[
        int | None, typer.Option(min=1, max=3650, metavar="DAYS", help="For archive-old-audit-events only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run one task now, whatever its schedule, recorded as `manual`. A disabled task runs too.

    Example: oms run FULFIL_WAITING_ORDERS
    Example: oms run archive-old-audit-events --older-than 30
    """
    begin()
    task = table.find(name)
    given = {} if older_than is None else {"older_than": older_than}
    for argument in given:
        if argument not in task.kwargs:
            raise typer.BadParameter(f"{task.name} does not take --{argument.replace('_', '-')}")
    try:
        with answering("PostgreSQL"):
            # Said plainly, before the run finds itself without its lock.
            with connection():
                pass
            state, result = run_manually(task, **given)
    finally:
        process.stop_liveness()
    if as_json:
        print_json({"name": task.name, "task": task.path, "state": state, "result": result})
    else:
        print(f"{task.name} {state}: {in_words(result)}")
        for details in listed_in(result):
            print_table([*details[0]], [[*line.values()] for line in details])
    if state != "succeeded":
        print(
            "Its work is not done: run it again, or leave the rest to its schedule.",
            file=sys.stderr,
        )
        sys.exit(1)
