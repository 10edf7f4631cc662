"""Does a scan that finds nothing cost more when there is more history?

    python -m benchmarks.idle_scan [--few 10000] [--many 1000000]

Times task 2's work, its look for helpers and the backlog of `oms status` with nothing waiting, first with few
settled orders in the database and then with many. The floor beside them is `SELECT 1` in the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

from benchmarks import world

TIMES = 300

STORE_SETTLED = """
    INSERT INTO orders (omnitron_id, number, status, state, next_plan_at, channel, placed_at, received_at,
                        facts, payload)
    SELECT n, n, '550', 'settled', now(), 'web', now() - n * interval '1 s', now(), '{}', '{}'
    FROM generate_series(%s::bigint, %s) AS n
"""

CHUNK = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure scans that find nothing, over a growing history.")
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres():
        few = measure_with(0, arguments.few)
        many = measure_with(arguments.few, arguments.many)
    for name in few:
        print(
            f"{name}: {few[name]:.2f} ms with {arguments.few} settled orders, {many[name]:.2f} ms with"
            f" {arguments.many}, ratio {many[name] / few[name]:.2f}"
        )


def measure_with(before: int, orders: int) -> dict[str, float]:
    from oms_workers.cli.backlog import backlog
    from oms_workers.database import connection, database_now, execute
    from oms_workers.fulfilment.waiting import more_than_a_batch, plan_waiting_orders
    from oms_workers.scheduling.run import Run

    with connection():
        for first in range(before + 1, orders + 1, CHUNK):
            execute(STORE_SETTLED, (first, min(first + CHUNK - 1, orders)))
        execute("VACUUM (ANALYZE) orders")
        execute("CHECKPOINT")
        run = Run(database_now(), budget=timedelta(hours=1))
        return {
            "SELECT 1": milliseconds(lambda: execute("SELECT 1")),
            "task 2 with nothing to plan": milliseconds(lambda: plan_waiting_orders(run)),
            "the look whether helpers are needed": milliseconds(more_than_a_batch),
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
