"""The table of the scheduled operations. `dramatiq schedules` and `periodiq schedules` begin here.

One row a task: its name, the key of its three environment variables, its operation and its default cadence,
letter for letter as the operators' document has them.
"""

from oms_workers.audit_events.archive import RETENTIONS as EVENTS
from oms_workers.audit_events.history import register_audited
from oms_workers.audit_events.tasks import archive_old_audit_events
from oms_workers.backlog import register_waiting
from oms_workers.base.sizes import RETENTIONS as SIZES
from oms_workers.base.tasks import db_maintenance
from oms_workers.fulfilment.audited import plans_called
from oms_workers.fulfilment.retention import RETENTIONS as PLANS
from oms_workers.fulfilment.tasks import (
    fulfil_replanning_orders,
    fulfil_waiting_orders,
    help_to_fulfil_waiting_orders,
    plan_late_stock,
    retry_out_of_stock_packages,
    retry_out_of_stock_transfers,
    send_late_stock,
    update_order_execution_plan_context,
)
from oms_workers.orders.audited import orders_called
from oms_workers.orders.backlog import WAITING as WAITING_ORDERS
from oms_workers.orders.retention import RETENTIONS as ORDERS
from oms_workers.orders.tasks import get_orders_from_omnitron
from oms_workers.packages import commands
from oms_workers.packages.audited import packages_called, transfers_called
from oms_workers.packages.backlog import WAITING as WAITING_PACKAGES
from oms_workers.packages.retention import RETENTIONS as PACKAGES
from oms_workers.reservations.backlog import WAITING as WAITING_STOCK
from oms_workers.reservations.retention import RETENTIONS as STOCK
from oms_workers.reservations.rises import tell_of_rises
from oms_workers.reservations.tasks import clear_inventory_discrepancies
from oms_workers.retention import register_retentions
from oms_workers.scheduling.program import begin
from oms_workers.scheduling.retention import RETENTIONS as LEDGER
from oms_workers.scheduling.table import Task, crontab, every

__all__ = ["TABLE", "broker", "commands"]

TABLE = (
    Task("get-omnitron-orders-cron", "OMNITRON_ORDERS", get_orders_from_omnitron, every(60)),
    Task("fulfil-waiting-orders", "FULFIL_WAITING_ORDERS", fulfil_waiting_orders, every(60)),
    Task("fulfil-replanning-orders", "FULFIL_REPLANNING_ORDERS", fulfil_replanning_orders, every(60 * 60)),
    Task(
        "renew-out-of-stock-packages-cron",
        "RENEW_OUT_OF_STOCK_PACKAGES",
        retry_out_of_stock_packages,
        every(3 * 60 * 60),
    ),
    Task(
        "renew-out-of-stock-transfers-cron",
        "RENEW_OUT_OF_STOCK_TRANSFERS",
        retry_out_of_stock_transfers,
        every(3 * 60 * 60),
    ),
    Task(
        "daily-clear-inventory-discrepancies",
        "DAILY_CLEAR_INVENTORY_DISCREPANCIES",
        clear_inventory_discrepancies,
        crontab("*/60,*,*,*,*"),
    ),
    Task("db-maintenance", "DB_MAINTENANCE", db_maintenance, crontab("0,0,*,*,*")),
    Task(
        "archive-old-audit-events",
        "ARCHIVE_OLD_AUDIT_EVENTS",
        archive_old_audit_events,
        crontab("30,12,*,*,*"),
        {"older_than": 120},
    ),
    Task(
        "update-order-execution-plan-context",
        "UPDATE_ORDER_EXECUTION_PLAN_CONTEXT",
        update_order_execution_plan_context,
        crontab("0,0,*,*,*"),
    ),
)

register_waiting(*WAITING_ORDERS, *WAITING_PACKAGES, *WAITING_STOCK)
register_retentions(*LEDGER, *EVENTS, *ORDERS, *STOCK, *PACKAGES, *PLANS, *SIZES)
register_audited(orders_called, plans_called, packages_called, transfers_called)
tell_of_rises(send_late_stock)
broker = begin(TABLE, jobs=[help_to_fulfil_waiting_orders, plan_late_stock])
