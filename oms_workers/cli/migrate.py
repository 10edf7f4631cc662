"""`oms migrate`: bring the schema up to date and record the schedule; for the release phase."""

from oms_workers import migrations
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.operation.services import answering
from oms_workers.scheduling import known_cadences, table


def migrate() -> None:
    """Apply the migrations that the database does not have yet.

    Example: oms migrate
    """
    begin()
    with answering("PostgreSQL"):
        applied = migrations.migrate()
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("The schema is up to date.")
    with answering("PostgreSQL"), connection():
        known_cadences.announce(task.plan for task in table.tasks())
