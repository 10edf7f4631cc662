"""Operations that are killed, with SIGKILL, before their n-th statement, the commits among them.

`crash_points.py plan` does the operation again and again in forked processes, killing the first before its
first statement, the next before its second, until one comes to its end. After each kill it compares every
table with what it was before, and says what differs.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import schedules  # noqa: F401 - registers the commands
from oms_workers.database import connection, database, database_now, execute, rows
from oms_workers.fulfilment.commands.registry import Request, run_command
from oms_workers.fulfilment.models import UNPLANNED_STATES
from oms_workers.fulfilment.reconciliation import miscounted, ownerless
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.fulfilment.waiting import plan_waiting_orders
from oms_workers.reservations.discrepancies import clear
from oms_workers.scheduling.run import Run

#: Far above what any of the operations needs.
MOST_STATEMENTS = 200

TABLES = (
    "orders", "order_items", "packages", "package_items", "order_execution_plans", "reservations", "stock",
    "stock_movements", "audit_events", "transfer_orders", "transfer_items", "excluded_locations",
)  # fmt: skip


def a_run() -> Run:
    with connection():
        return Run(database_now(), budget=timedelta(minutes=1))


def do(number: str, name: str, **request: Any) -> Callable[[], object]:
    return lambda: run_command(number, name, Request(**request), actor="tests")


def replan() -> object:
    return replan_packages(a_run(), UNPLANNED_STATES, actor="task", max_attempts=1)


def clear_discrepancies() -> object:
    with connection():
        return clear(a_run(), minimum_age=timedelta(0), reason="task")


OPERATIONS: dict[str, Callable[[], object]] = {
    "plan": lambda: plan_waiting_orders(a_run()),
    "replan": replan,
    "replan_transfers": lambda: replan_transfers(a_run()),
    "clear_discrepancies": clear_discrepancies,
    "pack": do("P1-1", "COMPLETE_PACKAGING"),
    "reject": do("P1-1", "PRODUCT_NOT_FOUND"),
    "reject_in_part": do("P1-1", "PRODUCT_NOT_FOUND_ADVANCED", missing={"CHAIR": 1}),
    "cancel": do("P1-1", "CANCEL"),
    "ship_transfer": do("T1-1-1", "SHIP_TRANSFER"),
    "deliver_transfer": do("T1-1-1", "DELIVER_TRANSFER"),
    "lose_transfer": do("T1-1-1", "TRANSFER_OUT_OF_STOCK"),
}


def main(name: str) -> None:
    """Kill the operation at every point in turn; print how many there were."""
    before = everything()
    for point in range(1, MOST_STATEMENTS):
        pid = os.fork()
        if pid == 0:
            end_before(point, OPERATIONS[name])
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSIGNALED(status):
            sys.exit((status and 1) or finish(name, point))
        half = [table for table, now in everything().items() if now != before[table]]
        if half:
            # It was killed between two transactions: then what is there has to be whole in itself.
            with connection():
                assert (miscounted(), ownerless()) == ([], []), (name, point, half)
            before = everything()
    sys.exit(f"{name} had no end after {MOST_STATEMENTS} statements")


def finish(name: str, point: int) -> int:
    with connection():
        assert (miscounted(), ownerless()) == ([], []), name
    print(point - 1)
    return 0


def everything() -> dict[str, list[Any]]:
    with connection():
        found = {table: rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}
    database.close_all()
    return found


def end_before(point: int, operation: Callable[[], object]) -> None:
    """Do the operation in this process, which dies before its `point`-th statement."""
    real_execute, real_commit, done = type(database).execute_sql, type(database).commit, 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def execute_sql(self: Any, sql: Any, params: Any = None) -> Any:
        count()
        return real_execute(self, sql, params)

    def commit(self: Any) -> Any:
        count()
        return real_commit(self)

    type(database).execute_sql = execute_sql
    type(database).commit = commit
    try:
        with connection():
            execute("SELECT 1")
        operation()
    except BaseException as error:  # noqa: BLE001 - a child has nobody to raise to
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
