"""`oms migrate`: bring the schema up to date and record the schedule; for the release phase."""

from datetime import timedelta
from typing import Annotated

import typer

from oms_workers import migrations
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.operation.services import answering
from oms_workers.scheduling import known_cadences, table
from oms_workers.servers import demand_postgres


def migrate(
    after: Annotated[
        bool,
        typer.Option(
            "--after",
            help="Apply the scripts that wait, too. No process of the previous release may be alive.",
        ),
    ] = False,
) -> None:
    """Apply the migrations that the database does not have yet.

    Example: oms migrate
    """
    begin()
    with answering("PostgreSQL"):
        demand_postgres()
        applied = migrations.migrate_after() if after else migrations.migrate()
        with connection():
            waiting = migrations.waiting()
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("The schema is up to date." if not waiting else "Nothing is to be applied now.")
    for script in waiting:
        print(_why(script))
    with answering("PostgreSQL"), connection():
        known_cadences.announce(task.plan for task in table.tasks())


def _why(script: migrations.WaitingScript) -> str:
    if script.ripe_at is None:
        minutes = migrations.SIDE_BY_SIDE // timedelta(minutes=1)
        since = f"{minutes} minutes or more after this release has started"
    else:
        since = f"at or after {script.ripe_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"{script.name} waits until no process of the previous release can be alive. "
        f"The next `oms migrate` {since} applies it, `oms migrate --after` does so at once."
    )
