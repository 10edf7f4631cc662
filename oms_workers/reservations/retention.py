"""How long ended reservations and movements of stock are kept.

Movements are added up before they go: one row for each sku, location and kind has the sum of the old ones. So
the sum of all movements of a stock and a kind is at any time what it would be, had none been removed.
"""

from typing import Any

from peewee import EXCLUDED, SQL, Select, Value, fn

from oms_workers.reservations.models import Location, Reservation, Stock, StockMovement
from oms_workers.retention import Kept, Retention, chosen_rows, count_removed

CLEAR_INVENTORY_DISCREPANCIES = "oms.reservations.tasks.clear_inventory_discrepancies"

#: What a movement that is a sum has as its reason.
SUMMED = "the sum of older movements"


def _sum_up(limit: Retention, chosen: Any) -> Any:
    """The statement that deletes a batch of movements, and adds them to the sums that there are."""
    movement = StockMovement
    batch, same = chosen_rows(limit, chosen)
    deletion = movement.delete().where(same).returning(
        movement.sku, movement.location_id, movement.kind, movement.quantity, movement.at
    )  # fmt: skip
    gone = deletion.cte("gone", columns=["sku", "location_id", "kind", "quantity", "moment"])
    group = (gone.c.sku, gone.c.location_id, gone.c.kind)
    sums = [
        *group,
        fn.SUM(gone.c.quantity).cast("integer"),
        Value(SUMMED).cast("text"),
        fn.MAX(gone.c.moment),
        fn.COUNT(SQL("*")),
    ]
    fields = [
        movement.sku, movement.location_id, movement.kind, movement.quantity, movement.reason, movement.at,
        movement.summed_rows,
    ]  # fmt: skip
    # Sorted, so that two processes which sum up cannot deadlock. By the index stock_movements_summed.
    insertion = movement.insert_from(Select([gone], sums).group_by(*group).order_by(*group), fields)
    added = insertion.on_conflict(
        conflict_target=[movement.sku, movement.location_id, movement.kind],
        conflict_where=~movement.summed_rows.is_null(),
        update={
            movement.quantity: movement.quantity + EXCLUDED.quantity,
            movement.at: fn.GREATEST(movement.at, EXCLUDED.at),
            movement.summed_rows: movement.summed_rows + EXCLUDED.summed_rows,
        },
    ).returning(movement.id)
    return count_removed(limit, gone, batch, gone, added.cte("added", columns=["id"]))


MOVEMENTS = Retention(
    model=StockMovement,
    what="movements of stock",
    becomes="summed up into one row for each sku, location and kind",
    moment=StockMovement.at,
    days="stock_movements_days",
    most="stock_movements_max_rows",
    task=CLEAR_INVENTORY_DISCREPANCIES,
    belongs=lambda: (StockMovement.summed_rows.is_null(),),
    remove=_sum_up,
)

RESERVATIONS = Retention(
    model=Reservation,
    what="reservations that were released or used up",
    moment=Reservation.released_at,
    days="released_reservations_days",
    most="released_reservations_max_rows",
    task=CLEAR_INVENTORY_DISCREPANCIES,
    belongs=lambda: (~Reservation.released_at.is_null(),),
)

RETENTIONS = (
    MOVEMENTS,
    RESERVATIONS,
    Kept(Location, "The merchant's locations."),
    Kept(Stock, "One row for each sku at a location."),
)
