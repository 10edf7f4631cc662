"""The stock that is not what it should be."""

from oms_workers.backlog import Waiting, count_since
from oms_workers.reservations.models import Reservation, ReservationKind, Stock
from oms_workers.sets import among

WAITING = (
    Waiting(
        "stock with less on hand than is reserved",
        lambda: count_since(Stock.snapshot_at, Stock.on_hand < Stock.reserved),
        ("FULFIL_REPLANNING_ORDERS",),
    ),
    Waiting(
        "discrepancies",
        lambda: count_since(
            Reservation.created_at,
            among(Reservation.kind, [ReservationKind.DISCREPANCY]),
            Reservation.released_at.is_null(),
        ),
        ("DAILY_CLEAR_INVENTORY_DISCREPANCIES",),
    ),
)
