"""How long rejected orders are kept; orders themselves are."""

from oms_workers.orders.models import Order, OrderItem, RejectedOrder
from oms_workers.retention import Kept, Retention

REJECTED_ORDERS = Retention(
    model=RejectedOrder,
    what="rejected orders that Omnitron has not changed since",
    # One that Omnitron still offers is seen again, also where it was dismissed.
    moment=RejectedOrder.last_seen_at,
    days="rejected_orders_days",
    most="rejected_orders_max_rows",
    task="oms.orders.tasks.get_orders_from_omnitron",
)

RETENTIONS = (
    REJECTED_ORDERS,
    Kept(Order, "The merchant's orders. An order that was forgotten and pulled again would be sent twice."),
    Kept(OrderItem, "The lines of the orders."),
)
