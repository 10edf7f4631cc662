"""When a rejected order is tried again, and who has dismissed it with which reason."""


def up(migrator, db):
    db.execute_sql(
        """
        ALTER TABLE rejected_orders
            ADD COLUMN number           text,
            -- How often this version was tried. The previous release does not count.
            ADD COLUMN attempts         integer NOT NULL DEFAULT 0,
            -- Null, as the previous release leaves it, is due now.
            ADD COLUMN next_attempt_at  timestamptz,
            ADD COLUMN dismissed_at     timestamptz,
            ADD COLUMN dismissed_by     text,
            ADD COLUMN dismissed_reason text
        """
    )
