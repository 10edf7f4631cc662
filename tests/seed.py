"""What the operators' document says of each task, letter for letter."""

from typing import NamedTuple


class Operation(NamedTuple):
    """A task's default, as an interval's product of seconds or a crontab, and the document's examples."""

    name: str
    env_key: str
    task: str
    default: str
    schedule_example: str
    crontab_example: str


OPERATIONS = [
    Operation(
        "get-omnitron-orders-cron",
        "OMNITRON_ORDERS",
        "oms.orders.tasks.get_orders_from_omnitron",
        "60",
        "60*5",
        "0,3,*,*,*",
    ),
    Operation(
        "fulfil-waiting-orders",
        "FULFIL_WAITING_ORDERS",
        "oms.fulfilment.tasks.fulfil_waiting_orders",
        "60",
        "60*5",
        "0,3,*,*,*",
    ),
    Operation(
        "fulfil-replanning-orders",
        "FULFIL_REPLANNING_ORDERS",
        "oms.fulfilment.tasks.fulfil_replaning_orders",
        "60 * 60",
        "60*60*5",
        "0,3,*,*,*",
    ),
    Operation(
        "renew-out-of-stock-packages-cron",
        "RENEW_OUT_OF_STOCK_PACKAGES",
        "oms.fulfilment.tasks.retry_out_of_stock_packages",
        "3 * 60 * 60",
        "60*60*5",
        "0,3,*,*,*",
    ),
    Operation(
        "renew-out-of-stock-transfers-cron",
        "RENEW_OUT_OF_STOCK_TRANSFERS",
        "oms.fulfilment.tasks.retry_out_of_stock_transfers",
        "3 * 60 * 60",
        "60*60*5",
        "0,3,*,*,*",
    ),
    Operation(
        "daily-clear-inventory-discrepancies",
        "DAILY_CLEAR_INVENTORY_DISCREPANCIES",
        "oms.reservations.tasks.clear_inventory_discrepancies",
        "*/60,*,*,*,*",
        "60*60*2",
        "15,3,*,*,*",
    ),
    Operation(
        "update-tracking-informations",
        "UPDATE_TRACKING_INFORMATIONS",
        "oms.shipments.tasks.update_all_tracking_information",
        "0,2,*,*,*",
        "60*60*4",
        "30,3,*,*,*",
    ),
    Operation(
        "update-tracking-informations-seven-days",
        "UPDATE_TRACKING_INFORMATIONS_SEVEN_DAYS",
        "oms.shipments.tasks.update_all_seven_days_tracking_information",
        "4 * 60 * 60",
        "60*60*3",
        "30,4,*,*,*",
    ),
    Operation(
        "update-transfer-shipments-tracking-informations",
        "UPDATE_TRANSFER_SHIPMENTS_TRACKING_INFORMATIONS",
        "oms.shipments.tasks.update_all_transfer_order_tracking_information",
        "4 * 60 * 60",
        "60*60*3",
        "30,4,*,*,*",
    ),
    Operation(
        "undelivered-whisperer-tasks",
        "UNDELIVERED_WHISPERER_TASKS",
        "whisperer.tasks.undelivered_event_scanner",
        "*/15,*,*,*,*",
        "60*30",
        "*/30,*,*,*,*",
    ),
    Operation(
        "db-maintenance",
        "DB_MAINTENANCE",
        "oms.base.tasks.db_maintenance",
        "0,0,*,*,*",
        "60*60*24",
        "0,3,*,*,*",
    ),
    Operation(
        "archive-old-audit-events",
        "ARCHIVE_OLD_AUDIT_EVENTS",
        "django_audit_events.tasks.archive_old_audit_events",
        "30,12,*,*,*",
        "60*60*12",
        "0,0,*,*,*",
    ),
    Operation(
        "process-cancellation-plans",
        "PROCESS_CANCELLATION_PLANS",
        "oms.orders.tasks.process_cancellation_plans",
        "60 * 60",
        "60*60*2",
        "0,15,*,*,*",
    ),
    Operation(
        "rerun-plans-for-cancellation-waiting-packages",
        "RERUN_PLANS_FOR_CANCELLATION_WAITING_PACKAGES",
        "oms.orders.tasks.rerun_plans_for_cancellation_waiting_packages",
        "60 * 60",
        "60*60*2",
        "0,15,*,*,*",
    ),
    Operation(
        "update-order-execution-plan-context",
        "UPDATE_ORDER_EXECUTION_PLAN_CONTEXT",
        "oms.fulfilment.tasks.update_order_execution_plan_context",
        "0,0,*,*,*",
        "60*60",
        "0,3,*,*,*",
    ),
    Operation(
        "whisperer_trigger_event_queue_events",
        "WHISPERER_TRIGGER_EVENT_QUEUE_EVENTS",
        "whisperer.tasks.trigger_event_queue_events",
        "60 * 15",
        "60*30",
        "*/30,*,*,*,*",
    ),
    Operation(
        "delete_old_webhook_request_records",
        "DELETE_OLD_WEBHOOK_REQUEST_RECORDS",
        "oms.integrations.tasks.delete_old_webhook_request_records",
        "60 * 2",
        "60*10",
        "*/15,*,*,*,*",
    ),
    Operation(
        "auto_run_ship_the_package_command",
        "AUTO_RUN_SHIP_THE_PACKAGE_COMMAND",
        "oms.shipments.tasks.auto_run_ship_the_package_command",
        "2 * 60 * 60",
        "60*60*4",
        "0,3,*,*,*",
    ),
]
