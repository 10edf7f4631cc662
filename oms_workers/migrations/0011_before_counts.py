"""When stock was counted, what a rejection has said, and the counters after each movement.

Each statement is a transaction of its own, so that no lock waits for another table's. It may be killed and
applied again. The index is for the movements since a count.
"""

from oms_workers.migrations.indexes import create_index_concurrently

atomic = False


def up(migrator, db):
    # Until now a count had the time of its loading, as snapshot_at.
    db.execute_sql("ALTER TABLE stock ADD COLUMN IF NOT EXISTS counted_at timestamptz")
    db.execute_sql(
        """
        ALTER TABLE excluded_locations
            ADD COLUMN IF NOT EXISTS excluded_at timestamptz NOT NULL DEFAULT now(),
            -- Whether the rejection said that units of the line were not there.
            ADD COLUMN IF NOT EXISTS about_stock boolean NOT NULL DEFAULT false
        """
    )
    # What the rejection said that made a discrepancy: quantity, or all.
    db.execute_sql("ALTER TABLE reservations ADD COLUMN IF NOT EXISTS meaning text")
    db.execute_sql(
        """
        ALTER TABLE stock_movements
            -- The counters after the movement; the previous release does not fill them.
            ADD COLUMN IF NOT EXISTS on_hand integer,
            ADD COLUMN IF NOT EXISTS reserved integer
        """
    )
    create_index_concurrently(db, "stock_movements_key", "stock_movements (sku, location_id, at)")
