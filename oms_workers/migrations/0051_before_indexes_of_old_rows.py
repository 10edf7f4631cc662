"""The indexes by which old rows are found, oldest first, and one that a foreign key lacked."""

from oms_workers.migrations.indexes import create_index_concurrently

atomic = False

INDEXES = {
    "stock_movements_unsummed": "stock_movements (at) WHERE summed_rows IS NULL",
    "reservations_released": "reservations (released_at) WHERE released_at IS NOT NULL",
    "excluded_locations_until": "excluded_locations (until)",
    "rejected_orders_last_seen_at": "rejected_orders (last_seen_at)",
    "order_execution_plans_traced": "order_execution_plans (created_at) WHERE context ? 'rules'",
    # Each deletion of a plan asks whether a package refers to it.
    "packages_plan": "packages (plan_id)",
}

#: Movements are added up per stock and kind, in one row that has the sum so far.
SUMS = "stock_movements (sku, location_id, kind) WHERE summed_rows IS NOT NULL"


def up(migrator, db):
    for name, on in INDEXES.items():
        create_index_concurrently(db, name, on)
    create_index_concurrently(db, "stock_movements_summed", SUMS, unique=True)
