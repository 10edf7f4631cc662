"""Cost follows the work: a scan that finds nothing reads nothing of the history."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from benchmarks.idle_scan import STORE_SETTLED
from oms_workers.database import database_now, execute, rows, transaction
from oms_workers.fulfilment.first_planning import more_than_a_batch, plan_waiting_orders
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.operation.backlog import backlog
from oms_workers.packages.ended_waits import cancel_ended_waits
from oms_workers.packages.models import UNPLANNED_STATES
from oms_workers.packages.shortfalls import relieve_shortfalls
from oms_workers.reservations.discrepancies import clear
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import load_merchant

#: Enough of it that a plan which reads the whole would be seen, whatever is cheaper.
HISTORY = 5_000

#: What a scan may read of it: a page or two of an index that is empty but for rows deleted a moment ago.
FEW = 50

#: Rows that this session's transaction has read of the tables that grow with the history.
READ = """
    SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS read
    FROM pg_stat_xact_user_tables
    WHERE relname IN ('orders', 'order_items', 'packages', 'package_items', 'reservations',
                      'order_execution_plans')
"""


def a_run() -> Run:
    return Run(database_now(), budget=timedelta(minutes=1))


SCANS: dict[str, Callable[[], object]] = {
    "fulfil_waiting_orders": lambda: plan_waiting_orders(a_run()),
    "the look for helpers": more_than_a_batch,
    "fulfil_replaning_orders": lambda: replan_packages(
        a_run(), UNPLANNED_STATES, actor="task", max_attempts=0
    ),
    "shortfalls": lambda: relieve_shortfalls(actor="task", at=database_now()),
    "ended waits": lambda: cancel_ended_waits(a_run(), actor="task"),
    "retry_out_of_stock_transfers": lambda: replan_transfers(a_run()),
    "clear_inventory_discrepancies": lambda: clear(a_run(), minimum_age=timedelta(0), reason="task"),
    "the backlog of oms status": backlog,
}


@pytest.fixture
def history(db: None) -> None:
    load_merchant({"GEBZE": {}}, {("RED-LAMP", "GEBZE"): 5})
    for statement in STORE_SETTLED:
        execute(statement, {"first": 1, "last": HISTORY})
    execute("ANALYZE")


def rows_read_by(scan: Callable[[], object]) -> dict[str, int]:
    """More than `FEW` rows that a scan has read, by table."""
    with transaction():
        before = dict(tuple(row) for row in rows(READ))
        scan()
        read = {table: count - before.get(table, 0) for table, count in rows(READ)}
    return {table: count for table, count in read.items() if count > FEW}


def test_what_reads_the_history_is_seen(history: None) -> None:
    read = rows_read_by(lambda: rows("SELECT id FROM packages WHERE right(number, 1) = 'x'"))

    assert read == {"packages": HISTORY}


@pytest.mark.parametrize("scan", SCANS)
def test_a_scan_that_finds_nothing_reads_nothing_of_the_history(history: None, scan: str) -> None:
    assert rows_read_by(SCANS[scan]) == {}
