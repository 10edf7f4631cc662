"""`oms run`: one task, now, in this process."""

import sys
from typing import Annotated

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.output import print_json
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.operation.services import answering
from oms_workers.scheduling import process, table
from oms_workers.scheduling.actor import run_manually


def run(
    name: Annotated[str, typer.Argument(help="The task's name, env_key or path.", callback=text("NAME"))],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run one task now, whatever its schedule, recorded as `manual`. A disabled task runs too.

    Example: oms run FULFIL_WAITING_ORDERS
    """
    begin()
    task = table.find(name)
    try:
        with answering("PostgreSQL"):
            # Said plainly, before the run finds itself without its lock.
            with connection():
                pass
            state, result = run_manually(task)
    finally:
        process.stop_liveness()
    if as_json:
        print_json({"name": task.name, "task": task.path, "state": state, "result": result})
    else:
        counts = ", ".join(f"{key} {value}" for key, value in (result or {}).items())
        print(f"{task.name} {state}: {counts}")
    if state != "succeeded":
        print(
            "Its work is not done: run it again, or leave the rest to its schedule.",
            file=sys.stderr,
        )
        sys.exit(1)
