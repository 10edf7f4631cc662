"""Does a year of an ordinary merchant leave tables that grow without end, or runs that take ever longer?

    python -m benchmarks.year [--days 365] [--orders 500] [--runs 393]

The default is a tenth of 5,000 orders and 3,932 runs a day. Each day's rows are written with that day's
times: orders, plans with their traces, packages, reservations, movements, events, runs, exclusions, rejected
orders. Then each task cleans its tables, as if it was that night, and the tables are vacuumed. Each month has
a line for the tables, and one for the longest run of each task. At the end come the idle scans, compared with
those of the second month.
"""

import argparse
import importlib
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import settings
from benchmarks import world
from benchmarks.idle_scan import milliseconds
from oms_workers.audit_events.archive import archive
from oms_workers.audit_events.tasks import archive_old_audit_events
from oms_workers.base.maintenance import maintain
from oms_workers.base.sizes import measure
from oms_workers.database import connection, database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.operation.tables import find_growing, tables
from oms_workers.packages.models import UNPLANNED_STATES
from oms_workers.reservations.discrepancies import clear
from oms_workers.retention import registered_retentions, remove_old_rows
from oms_workers.scheduling.operation import TICK
from oms_workers.scheduling.retention import PRUNE_BATCH, REMOVED_BY_TICK, prune
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import tasks

DAY = timedelta(days=1)
MONTH = 30

#: When the idle scans are first measured: after the shortest limits, before the longest ones.
EARLY = 60

#: A day's rows. `n` counts orders from the beginning of the year.
STORE_DAY = (
    """
    INSERT INTO orders (id, omnitron_id, number, status, state, next_plan_at, channel, placed_at, received_at,
                        facts, payload)
    SELECT n, n, n, '550', 'settled', %(at)s, 'web', %(at)s, %(at)s, '{"channel": "web"}',
           jsonb_build_object('pk', n, 'notes', repeat('x', 400))
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO order_items (id, order_id, omnitron_id, sku, quantity, status)
    SELECT n, n, n, 'SKU-' || n %% 500, 1, '550' FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO order_execution_plans (id, order_id, state, attempt, context, created_at)
    SELECT n, n, 'completed', 1,
           jsonb_build_object('scenario', 'one', 'unplaced', '[]'::jsonb, 'rules',
                              (SELECT jsonb_agg(jsonb_build_object('location', 'L' || l, 'verdict',
                                                md5(n::text || l))) FROM generate_series(1, 10) AS l)), %(at)s
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO packages (id, number, order_id, plan_id, location_id, state, created_at)
    SELECT n, 'P' || n, n, n, 1 + n %% 3, 900, %(at)s FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO package_items (id, package_id, order_item_id, sku, quantity, state)
    SELECT n, n, n, 'SKU-' || n %% 500, 1, 900 FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO reservations (sku, location_id, quantity, kind, package_item_id, created_at, released_at)
    SELECT 'SKU-' || n %% 500, 1 + n %% 3, 1, 'package', n, %(at)s, %(at)s + interval '1 day'
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
    """,
    """
    INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
    SELECT 'SKU-' || n %% 500, 1 + n %% 3, units, kind, 'year', %(at)s + n * interval '1 ms'
    FROM generate_series(%(first)s::bigint, %(last)s) AS n,
         (VALUES ('reserved', 1), ('consumed', -1), ('received', 1)) AS moved (kind, units)
    """,
    """
    INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
    SELECT %(at)s + n * interval '1 ms', 'oms.fulfilment.tasks.fulfil_waiting_orders',
           (ARRAY['order', 'plan', 'package'])[1 + k %% 3], n, 'changed',
           jsonb_build_object('before', 'waiting', 'after', 'planned', 'plan', n)
    FROM generate_series(%(first)s::bigint, %(last)s) AS n, generate_series(1, 8) AS k
    """,
    """
    INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger, attempts, started_at, finished_at,
                                result)
    SELECT 'task ' || n %% 18, %(at)s + n * interval '1 s', %(at)s + n * interval '1 s', 'succeeded',
           'periodiq', 1, %(at)s, %(at)s, '{"orders": 3, "packages": 4}'
    FROM generate_series(1, %(runs)s) AS n
    """,
    """
    INSERT INTO excluded_locations (order_item_id, location_id, until)
    SELECT n, 1, %(at)s + interval '7 days' FROM generate_series(%(first)s::bigint, %(first)s + 9) AS n
    """,
    """
    INSERT INTO rejected_orders (omnitron_id, reason, payload, first_seen_at, last_seen_at)
    SELECT 'rejected ' || n, 'the order has no items', repeat('x', 500), %(at)s, %(at)s
    FROM generate_series(%(first)s::bigint, %(first)s + 1) AS n
    """,
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Live a year at a tenth of an ordinary merchant's size.")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--runs", type=int, default=393)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres(), connection():
        importlib.import_module("schedules")
        live(arguments.days, arguments.orders, arguments.runs)


def live(days: int, orders: int, runs: int) -> None:
    begin, started = database_now() - days * DAY, time.perf_counter()
    longest: defaultdict[str, float] = defaultdict(float)
    early: dict[str, float] = {}
    for day in range(days):
        at = begin + day * DAY
        keys = {"at": at, "first": 1 + day * orders, "last": (day + 1) * orders, "runs": runs}
        for statement in STORE_DAY:
            execute(statement, keys)
        for name, work in housekeeping(at + DAY).items():
            longest[name] = max(longest[name], seconds(work))
        if day + 1 == EARLY:
            early = idle_scans(at + DAY)
        if (day + 1) % MONTH == 0 or day + 1 == days:
            show(day + 1, longest, time.perf_counter() - started)
            longest.clear()
    late = idle_scans(begin + days * DAY)
    for name, taken in late.items():
        was = early.get(name, taken)
        print(f"{name}: {was:.2f} ms on day {EARLY}, {taken:.2f} ms on day {days}, ratio {taken / was:.2f}")
    now = database_now()
    print("findings:", [*find_growing(tables(now), now)] or "none")


def housekeeping(now: datetime) -> dict[str, Callable[[], object]]:
    """What cleans at the end of a day, by the name of the task."""
    work: dict[str, Callable[[], object]] = {"the tick": lambda: tick(now)}
    for task in tasks():
        if task.path != archive_old_audit_events.name and cleans(task.path):
            work[task.name] = lambda path=task.path: remove_old_rows(path, now, should_stop=never)
    run = Run(now, budget=timedelta(minutes=30))
    names = settings.current().db_maintenance_tables.split(",")
    return {
        **work,
        "archive-old-audit-events": lambda: (
            archive(now, older_than=timedelta(days=120), should_stop=never),
            remove_old_rows(archive_old_audit_events.name, now, should_stop=never),
        ),
        "db-maintenance": lambda: (maintain(run, names), measure(now), work["db-maintenance"]()),
    }


def cleans(path: str) -> bool:
    return any(limit.task == path for limit in registered_retentions())


def tick(now: datetime) -> None:
    """As many ticks as there is work for; a day has 1,440."""
    for limit in REMOVED_BY_TICK:
        while prune(limit, now) == PRUNE_BATCH:
            pass


def never() -> bool:
    return False


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def show(day: int, longest: dict[str, float], taken: float) -> None:
    counts = [
        f"{limit.table} {rows(f'SELECT count(*) FROM {limit.table}')[0][0]:,}"
        for limit in registered_retentions()
        if limit.table not in ("workers", "order_execution_plans")
    ]
    traced = rows("SELECT count(*) FROM order_execution_plans WHERE context ? 'rules'")[0][0]
    size = rows("SELECT pg_database_size(current_database()) / 1048576")[0][0]
    print(f"day {day} after {taken:.0f} s, {size} MB: {', '.join(counts)}, plans with a trace {traced:,}")
    print(
        "    longest run: " + ", ".join(f"{name} {taken:.2f} s" for name, taken in longest.items()),
        flush=True,
    )


def idle_scans(now: datetime) -> dict[str, float]:
    """The time of each look that finds nothing."""
    run = Run(now, budget=timedelta(hours=1))
    return {
        "SELECT 1": milliseconds(lambda: execute("SELECT 1")),
        "fulfil-waiting-orders": milliseconds(lambda: plan_waiting_orders(run)),
        "fulfil-replanning-orders": milliseconds(
            lambda: replan_packages(run, UNPLANNED_STATES, actor="year", max_attempts=0)
        ),
        "daily-clear-inventory-discrepancies": milliseconds(
            lambda: clear(run, minimum_age=timedelta(0), reason="year")
        ),
        "archive-old-audit-events": milliseconds(
            lambda: archive(now, older_than=timedelta(days=120), should_stop=never)
        ),
        "the tick's old rows": milliseconds(lambda: tick(now)),
        **{
            f"old rows of {path.rpartition('.')[2]}": milliseconds(
                lambda path=path: remove_old_rows(path, now, should_stop=never)
            )
            for path in sorted({limit.task for limit in registered_retentions()} - {TICK})
        },
    }


if __name__ == "__main__":
    main()
