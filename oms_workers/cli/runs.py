"""`oms runs`: what the ledger says of the runs, one by one."""

from typing import Annotated, Any

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.listing import SHOWN, AsJson, Limit, Since, print_listing, since_when
from oms_workers.cli.output import age
from oms_workers.cli.program import begin
from oms_workers.database import connection, database_now
from oms_workers.operation.listings import list_runs
from oms_workers.operation.services import answering
from oms_workers.scheduling import table
from oms_workers.scheduling.models import RunState


def runs(
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    task: Annotated[
        str | None, typer.Option(callback=text("--task"), help="Only this task's: its name, env_key or path.")
    ] = None,
    since: Since = None,
    limit: Limit = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List the runs of the tasks, the newest first, each with its error or the reason why it was skipped.

    Example: oms runs --failed --since 2026-11-01T08:00
    """
    begin()
    path, after = table.find(task).path if task else None, since_when(since)
    states = [RunState.FAILED] if failed else [*RunState]
    with answering("PostgreSQL"), connection():
        now = database_now()
        found = list_runs(states, task=path, since=after, limit=limit, now=now)

    def line(run: dict[str, Any]) -> tuple[object, ...]:
        again = run["next_attempt_at"]
        return (
            run["name"] or f"{run['task']} (gone)",
            f"{run['slot']:%Y-%m-%d %H:%M:%S}",
            age(run["slot"], now),
            run["state"],
            run["attempts"],
            age(again, now) if again else "",
            run["error"] or run["reason"],
        )

    columns = ("task", "slot, in UTC", "age", "outcome", "attempts", "again", "reason")
    print_listing(found, "runs", columns, line, as_json=as_json)
