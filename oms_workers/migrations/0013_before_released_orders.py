"""For which version of an order its release by a person holds."""


def up(migrator, db):
    db.execute_sql("ALTER TABLE orders ADD COLUMN released_version integer")
