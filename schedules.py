"""The scheduled operations, and what `dramatiq schedules` and `periodiq schedules` load.

One row a task: its name, the key of its three environment variables, its actor and its default cadence,
letter for letter as the operators' document has them.
"""

from oms_workers.broker import broker
from oms_workers.fulfilment.tasks import fulfil_waiting_orders
from oms_workers.orders.tasks import get_orders_from_omnitron
from oms_workers.scheduling import tick
from oms_workers.scheduling.table import ScheduledTask, every, register

__all__ = ["TABLE", "broker"]

TABLE = (
    ScheduledTask("get-omnitron-orders-cron", "OMNITRON_ORDERS", get_orders_from_omnitron, every(60)),
    ScheduledTask("fulfil-waiting-orders", "FULFIL_WAITING_ORDERS", fulfil_waiting_orders, every(60)),
)

register(TABLE)
tick.schedule()
