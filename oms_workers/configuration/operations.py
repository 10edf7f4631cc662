"""The eighteen scheduled operations, as the operators' document has them: keys, defaults and examples.

The document and the example file are made from these. What really runs stands in `schedules.py`.
"""

from typing import NamedTuple


class Documented(NamedTuple):
    """One operation: its key, its default in the form of its variables, and an example of each variable."""

    name: str
    key: str
    default: str
    schedule: str
    crontab: str

    @property
    def default_variable(self) -> str:
        """The variable in which the default could be written."""
        return f"{self.key}_{'CRONTAB' if ',' in self.default else 'SCHEDULE'}"


OPERATIONS = (
    Documented("get-omnitron-orders-cron", "OMNITRON_ORDERS", "60", "60*5", "0,3,*,*,*"),
    Documented("fulfil-waiting-orders", "FULFIL_WAITING_ORDERS", "60", "60*5", "0,3,*,*,*"),
    Documented("fulfil-replanning-orders", "FULFIL_REPLANNING_ORDERS", "60*60", "60*60*5", "0,3,*,*,*"),
    Documented(
        "renew-out-of-stock-packages-cron",
        "RENEW_OUT_OF_STOCK_PACKAGES",
        "3*60*60",
        "60*60*5",
        "0,3,*,*,*",
    ),
    Documented(
        "renew-out-of-stock-transfers-cron",
        "RENEW_OUT_OF_STOCK_TRANSFERS",
        "3*60*60",
        "60*60*5",
        "0,3,*,*,*",
    ),
    Documented(
        "daily-clear-inventory-discrepancies",
        "DAILY_CLEAR_INVENTORY_DISCREPANCIES",
        "*/60,*,*,*,*",
        "60*60*2",
        "15,3,*,*,*",
    ),
    Documented(
        "update-tracking-informations",
        "UPDATE_TRACKING_INFORMATIONS",
        "0,2,*,*,*",
        "60*60*4",
        "30,3,*,*,*",
    ),
    Documented(
        "update-tracking-informations-seven-days",
        "UPDATE_TRACKING_INFORMATIONS_SEVEN_DAYS",
        "4*60*60",
        "60*60*3",
        "30,4,*,*,*",
    ),
    Documented(
        "update-transfer-shipments-tracking-informations",
        "UPDATE_TRANSFER_SHIPMENTS_TRACKING_INFORMATIONS",
        "4*60*60",
        "60*60*3",
        "30,4,*,*,*",
    ),
    Documented(
        "undelivered-whisperer-tasks",
        "UNDELIVERED_WHISPERER_TASKS",
        "*/15,*,*,*,*",
        "60*30",
        "*/30,*,*,*,*",
    ),
    Documented("db-maintenance", "DB_MAINTENANCE", "0,0,*,*,*", "60*60*24", "0,3,*,*,*"),
    Documented(
        "archive-old-audit-events", "ARCHIVE_OLD_AUDIT_EVENTS", "30,12,*,*,*", "60*60*12", "0,0,*,*,*"
    ),
    Documented("process-cancellation-plans", "PROCESS_CANCELLATION_PLANS", "60*60", "60*60*2", "0,15,*,*,*"),
    Documented(
        "rerun-plans-for-cancellation-waiting-packages",
        "RERUN_PLANS_FOR_CANCELLATION_WAITING_PACKAGES",
        "60*60",
        "60*60*2",
        "0,15,*,*,*",
    ),
    Documented(
        "update-order-execution-plan-context",
        "UPDATE_ORDER_EXECUTION_PLAN_CONTEXT",
        "0,0,*,*,*",
        "60*60",
        "0,3,*,*,*",
    ),
    Documented(
        "whisperer_trigger_event_queue_events",
        "WHISPERER_TRIGGER_EVENT_QUEUE_EVENTS",
        "60*15",
        "60*30",
        "*/30,*,*,*,*",
    ),
    Documented(
        "delete_old_webhook_request_records",
        "DELETE_OLD_WEBHOOK_REQUEST_RECORDS",
        "60*2",
        "60*10",
        "*/15,*,*,*,*",
    ),
    Documented(
        "auto_run_ship_the_package_command",
        "AUTO_RUN_SHIP_THE_PACKAGE_COMMAND",
        "2*60*60",
        "60*60*4",
        "0,3,*,*,*",
    ),
)
