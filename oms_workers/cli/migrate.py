"""`oms migrate`: bring the schema up to date and record the schedule; for the release phase."""

import settings


def migrate() -> None:
    """Apply the migrations that the database does not have yet.

    Example: oms migrate
    """
    settings.load_or_exit(need_servers=True)
    from oms_workers import migrations
    from oms_workers.cli.services import answering

    with answering("PostgreSQL"):
        applied = migrations.migrate()
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("The schema is up to date.")
    import schedules  # noqa: F401 - fills the table
    from oms_workers.database import connection
    from oms_workers.scheduling import known_cadences, table

    with answering("PostgreSQL"), connection():
        known_cadences.announce(task.plan for task in table.tasks())
