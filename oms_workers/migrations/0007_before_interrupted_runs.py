"""How many attempts of a run were ended from outside, by the death of its worker or by a lost answer."""


def up(migrator, db):
    db.execute_sql("ALTER TABLE scheduled_runs ADD COLUMN interruptions integer NOT NULL DEFAULT 0")
