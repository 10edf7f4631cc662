"""Does update_order_execution_plan_context rewrite only what changed, and does its memory stay flat?

    python -m benchmarks.plan_context [--plans 200000] [--changed 1000]

The floor in the same run is plain SQL that reads every plan's context once.
"""

import argparse
import time
from datetime import timedelta

import psutil

from benchmarks import world
from oms_workers.database import connection, database_now, execute
from oms_workers.fulfilment.plan_context import refresh_contexts
from oms_workers.scheduling.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the refresh of plans' contexts.")
    parser.add_argument("--plans", type=int, default=200_000)
    parser.add_argument("--changed", type=int, default=1_000)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres():
        store(arguments.plans)
        refresh("all are new")
        measure_floor()
        refresh("nothing changed")
        change(arguments.changed)
        refresh(f"{arguments.changed} changed")
        refresh("nothing changed")


def store(plans: int) -> None:
    with connection():
        execute(
            """
            INSERT INTO orders
                (omnitron_id, number, status, state, next_plan_at, placed_at, received_at, facts, payload)
            SELECT n, n, '400', 'planned', now(), now(), now(), '{}', '{}'
            FROM generate_series(1, %s::bigint) AS n
            """,
            (plans,),
        )
        execute(
            """
            INSERT INTO order_execution_plans (order_id, state, attempt, context, created_at)
            SELECT id, 'completed', 1, jsonb_build_object('scenario', 'x', 'rules', repeat('r', 800)),
                   now() - id * interval '10 ms'
            FROM orders
            """
        )
        execute(
            """
            INSERT INTO packages (number, order_id, plan_id, location_id, state, created_at)
            SELECT 'P' || order_id, order_id, id, 1, 500, now() FROM order_execution_plans
            """
        )
        execute("VACUUM (ANALYZE)")


def change(count: int) -> None:
    with connection():
        execute(
            "UPDATE packages SET state = 600, changed_at = now() WHERE id %% 200 = 0 AND id <= %s",
            (200 * count,),
        )


def measure_floor() -> None:
    with connection():
        started = time.perf_counter()
        execute("SELECT count(context -> 'packages') FROM order_execution_plans")
        print(f"floor, every context read once by plain SQL: {time.perf_counter() - started:.2f} s")


def refresh(what: str) -> None:
    with connection():
        run = Run(database_now(), budget=timedelta(hours=1))
        started = time.perf_counter()
        counts = refresh_contexts(run)
        taken = time.perf_counter() - started
    megabytes = psutil.Process().memory_info().rss / 1024 / 1024
    print(f"{what}: {counts['rewritten']} rewritten in {taken:.2f} s, {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
