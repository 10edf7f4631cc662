"""Drop a column that no code reads: which configuration is in effect is decided by its generation."""


def up(migrator, db):
    db.execute_sql("ALTER TABLE scheduled_tasks DROP COLUMN enabled_at")
