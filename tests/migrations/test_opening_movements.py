"""Counters of a database in use get their opening movements."""

import importlib

from oms_workers.database import connection, database, execute, rows
from oms_workers.reservations.proof import unproven


def test_counters_of_a_database_in_use_get_their_opening_movements_once(db: None) -> None:
    opening = importlib.import_module("oms_workers.migrations.0012_before_opening_movements")
    with connection():
        execute("INSERT INTO locations (code, name, type) VALUES ('A', 'A', 'store'), ('B', 'B', 'store')")
        execute(
            """
            INSERT INTO stock (sku, location_id, on_hand, reserved, snapshot_at)
            SELECT 'S' || number, location, mod(number, 5), mod(number, 3), now() - interval '1 day'
            FROM generate_series(1, 1500) AS number, unnest('{1, 2}'::int[]) AS location
            """
        )
        execute(
            """
            INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
            VALUES ('S1', 1, 4, 'snapshot', 'oms load', now()), ('S1', 1, -3, 'consumed', 'pack', now()),
                   ('S1', 1, 4, 'reserved', 'plan', now())
            """
        )
        assert len(unproven()) > 2_000

        opening.up(None, database)
        opened = rows("SELECT count(*), max(id) FROM stock_movements")
        opening.up(None, database)

        assert unproven() == []
        assert rows("SELECT count(*), max(id) FROM stock_movements") == opened
        # What was there came to the right sums.
        assert rows("SELECT count(*) FROM stock_movements WHERE (sku, location_id) = ('S1', 1)") == [(3,)]
        assert rows("SELECT count(*) FROM stock WHERE counted_at IS DISTINCT FROM snapshot_at") == [(0,)]
