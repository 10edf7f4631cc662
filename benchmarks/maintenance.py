"""Does planning wait for `db-maintenance`?

    python -m benchmarks.maintenance [--times 200] [--dead 400000]

Plans a few orders at a time, again and again, while nothing else runs, and while all default tables are
vacuumed, of which some have many dead rows. Shows how long planning took, alone and beside it.
"""

import argparse
import importlib
import statistics
import threading
import time
from datetime import timedelta

import settings
from benchmarks import world
from oms_workers.base.maintenance import maintain
from oms_workers.database import connection, database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.scheduling.run import Run

#: Orders that are planned at a time.
ORDERS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure planning beside database maintenance.")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--dead", type=int, default=400_000)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres(), connection():
        importlib.import_module("schedules")
        plan(arguments.times // 4, first=1)
        alone = plan(arguments.times, first=1_000_000)
        leave_dead_rows(arguments.dead)
        vacuuming = Vacuuming()
        vacuuming.start()
        beside = plan(arguments.times, first=2_000_000)
        is_over = vacuuming.ended.is_set()
        vacuuming.join()
        for name, taken in (("alone", alone), ("beside maintenance", beside)):
            print(f"{name}: median {statistics.median(taken):.1f} ms, p99 {p99(taken):.1f} ms")
        when = "before" if is_over else "after"
        print(f"ratio of p99 {p99(beside) / p99(alone):.2f}; the maintenance ended {when} the planning")
        print({key: value for key, value in vacuuming.found.items() if key != "tables"})


class Vacuuming(threading.Thread):
    """One maintenance of the default tables."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.found: dict[str, object] = {}

    def run(self) -> None:
        with connection():
            names = settings.current().db_maintenance_tables.split(",")
            self.found = maintain(Run(database_now(), budget=timedelta(minutes=10)), names)
        self.ended.set()


def leave_dead_rows(count: int) -> None:
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
        SELECT 'SKU-' || n, 1, 1, 'received', 'benchmark', now() FROM generate_series(1, %s) AS n
        """,
        (count,),
    )
    execute(
        """
        INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
        SELECT now(), 'benchmark', 'order', n, 'planned', '{}' FROM generate_series(1, %s) AS n
        """,
        (count,),
    )
    execute("DELETE FROM stock_movements WHERE reason = 'benchmark' AND id %% 2 = 0")
    execute("DELETE FROM audit_events WHERE actor = 'benchmark' AND id %% 2 = 0")
    rows("SELECT pg_stat_force_next_flush()")


def plan(times: int, *, first: int) -> list[float]:
    """How many milliseconds it took to plan a few orders, each time."""
    taken = []
    for number in range(times):
        start = first + number * ORDERS
        world.store_orders(start, start + ORDERS - 1)
        run = Run(database_now(), budget=timedelta(minutes=1))
        started = time.perf_counter()
        plan_waiting_orders(run)
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


if __name__ == "__main__":
    main()
