"""Drop columns that no code uses: packages are claimed by their rows' locks, and transfers are replaced."""


def up(migrator, db):
    db.execute_sql(
        """
        ALTER TABLE packages DROP COLUMN claimed_until;
        ALTER TABLE transfer_orders DROP COLUMN replanned_at;
        """
    )
