"""Since when each script that comes after the new code has been waiting."""


def up(migrator, db):
    db.execute_sql(
        """
        CREATE TABLE migration_announcements (
            name            text PRIMARY KEY,
            announced_at    timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        """
    )
