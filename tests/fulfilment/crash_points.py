"""Operations that are killed, with SIGKILL, before their n-th statement, the commits among them.

`crash_points.py plan` does the operation again and again in forked processes, killing the first before its
first statement, the next before its second, until one comes to its end. After each kill every table has to be
what it was before, or, where the operation is made of several transactions, whole in itself.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import connection, database, database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.replanning_by_hand import replan_location
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.operation.load_files import load_files
from oms_workers.orders.held_orders import release_order
from oms_workers.packages.commands.registry import Request, run_command
from oms_workers.packages.ended_waits import cancel_ended_waits
from oms_workers.packages.models import UNPLANNED_STATES
from oms_workers.packages.reconciliation import fix
from oms_workers.packages.shortfalls import relieve_shortfalls
from oms_workers.reservations.discrepancies import clear
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import assert_books_balance, assert_every_line_is_somewhere

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


def load() -> object:
    return load_files([Path(os.environ["SNAPSHOT"])])


def relieve() -> object:
    return relieve_shortfalls(actor="task", at=a_run().now)


def end_waits() -> object:
    run = a_run()
    return cancel_ended_waits(run, actor="task")


def reconcile() -> object:
    with connection():
        return fix(at=database_now())


def replan_closed() -> object:
    return replan_location("GEBZE", actor="tests")


#: Operations of several transactions, between which all is whole.
SEVERAL: dict[str, Callable[[], object]] = {
    "plan": lambda: plan_waiting_orders(a_run()),
    "replan": replan,
    "replan_transfers": lambda: replan_transfers(a_run()),
    "clear_discrepancies": clear_discrepancies,
    "load": load,
    "relieve": relieve,
    "end_waits": end_waits,
    "reconcile": reconcile,
    "replan_location": replan_closed,
}

#: Operations of one transaction, of which nothing is there or everything.
SINGLE: dict[str, Callable[[], object]] = {
    "release_order": lambda: release_order("7", actor="tests"),
    "prepare": do("P1-1", "START_PREPARING"),
    "block": do("P1-1", "BLOCK"),
    "pack": do("P1-1", "COMPLETE_PACKAGING"),
    "refuse": do("P1-1", "REFUSE"),
    "reject": do("P1-1", "PRODUCT_NOT_FOUND"),
    "reject_defective": do("P1-1", "DEFECTIVE_PRODUCT"),
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
            end_before(point, SINGLE.get(name) or SEVERAL[name])
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSIGNALED(status):
            check(name, point)
            print(point - 1)
            sys.exit(status and 1)
        now = everything()
        half = [table for table in TABLES if now[table] != before[table]]
        if half:
            assert name in SEVERAL, f"killed before statement {point}, {name} has left {half} half done"
            check(name, point)
        before = now
    sys.exit(f"{name} had no end after {MOST_STATEMENTS} statements")


def check(name: str, point: int) -> None:
    # What `oms reconcile` is to mend is wrong before it is done.
    if name != "reconcile":
        with connection():
            assert_books_balance()
            assert_every_line_is_somewhere()
    database.close_all()


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

    def execute_sql(self: Any, sql: Any, params: Any = None, **options: Any) -> Any:
        count()
        return real_execute(self, sql, params, **options)

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
