"""Does a scan that finds nothing cost more when there is more history?

    python -m benchmarks.idle_scan [--few 10000] [--many 1000000]

Times planning, replanning, transfers, discrepancies, the look for helpers and the backlog of `oms status`.
First there are few settled orders in the database, with their packages and reservations, and then many. The
floor beside them is `SELECT 1` in the same run.
"""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

from benchmarks import world
from oms_workers.database import connection, database_now, execute
from oms_workers.fulfilment.first_planning import more_than_a_batch, plan_waiting_orders
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.operation.backlog import backlog
from oms_workers.packages.models import UNPLANNED_STATES
from oms_workers.reservations.discrepancies import clear
from oms_workers.scheduling.run import Run

TIMES = 300

#: Each order with a plan, a delivered package, an item of it and its released reservation.
STORE_SETTLED = (
    """
    INSERT INTO orders (id, omnitron_id, number, status, state, next_plan_at, channel, placed_at, received_at,
                        facts, payload)
    SELECT n, n, n, '550', 'settled', now(), 'web', now() - n * interval '1 s', now(), '{}', '{}'
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO order_items (id, order_id, omnitron_id, sku, quantity, status)
    SELECT id, id, id, 'RED-LAMP', 1, '550' FROM orders WHERE id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO order_execution_plans (id, order_id, state, attempt, context, created_at)
    SELECT id, id, 'completed', 1, '{}', now() - interval '1 year'
    FROM orders WHERE id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO packages (id, number, order_id, plan_id, location_id, state, created_at)
    SELECT id, 'P' || id, id, id, 1, 900, now() FROM orders WHERE id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO package_items (id, package_id, order_item_id, sku, quantity, state)
    SELECT id, id, id, 'RED-LAMP', 1, 900 FROM orders WHERE id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO reservations (sku, location_id, quantity, kind, package_item_id, created_at, released_at)
    SELECT 'RED-LAMP', 1, 1, 'package', id, now(), now()
    FROM orders WHERE id BETWEEN %(first)s AND %(last)s
    """,
)

CHUNK = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure scans that find nothing, over a growing history.")
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres():
        # Importing it begins a program, whose rooms register what waits in them.
        importlib.import_module("schedules")
        few = measure_with(0, arguments.few)
        many = measure_with(arguments.few, arguments.many)
    for name in few:
        print(
            f"{name}: {few[name]:.2f} ms with {arguments.few} settled orders, {many[name]:.2f} ms with"
            f" {arguments.many}, ratio {many[name] / few[name]:.2f}"
        )


def measure_with(before: int, orders: int) -> dict[str, float]:
    with connection():
        for first in range(before + 1, orders + 1, CHUNK):
            keys = {"first": first, "last": min(first + CHUNK - 1, orders)}
            for statement in STORE_SETTLED:
                execute(statement, keys)
        execute("VACUUM (ANALYZE)")
        execute("CHECKPOINT")
        run = Run(database_now(), budget=timedelta(hours=1))
        return {
            "SELECT 1": milliseconds(lambda: execute("SELECT 1")),
            "fulfil_waiting_orders with nothing to plan": milliseconds(lambda: plan_waiting_orders(run)),
            "the look whether helpers are needed": milliseconds(more_than_a_batch),
            "fulfil_replaning_orders with nothing to replan": milliseconds(
                lambda: replan_packages(run, UNPLANNED_STATES, actor="benchmark", max_attempts=0)
            ),
            "retry_out_of_stock_transfers with nothing to replan": milliseconds(
                lambda: replan_transfers(run)
            ),
            "clear_inventory_discrepancies with nothing to clear": milliseconds(
                lambda: clear(run, minimum_age=timedelta(0), reason="benchmark")
            ),
            "the backlog of oms status": milliseconds(backlog),
        }


def milliseconds(work: Callable[[], object]) -> float:
    """The median of many, after a few to warm up."""
    taken = []
    for _ in range(TIMES + 10):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken[10:])


if __name__ == "__main__":
    main()
