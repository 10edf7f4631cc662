"""Does fulfil_replaning_orders notice the packages that it cannot plan?

    python -m benchmarks.replanning [--few 1000] [--many 100000] [--plannable 100]

The same number of packages has become plannable among few and among many that are out of stock. Then stock
comes for all of them, but only where no rule looks: the first run tries each, the second has nothing to try.
"""

import argparse
import time
from datetime import timedelta

from benchmarks import world
from oms_workers.database import connection, database, database_now, execute
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.packages.models import UNPLANNED_STATES
from oms_workers.scheduling.run import Run

ROUNDS = 5

STORE_OUT_OF_STOCK = """
    INSERT INTO orders (omnitron_id, number, status, state, next_plan_at, channel, placed_at, received_at,
                        facts, payload)
    SELECT n, n, '400', 'planned', now(), 'web', now() - n * interval '1 s', now(), '{"channel": "web"}', '{}'
    FROM generate_series(%(first)s::bigint, %(last)s) AS n;
    INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
    SELECT id, omnitron_id, 'GONE-' || omnitron_id %% 5000, 1, '400'
    FROM orders WHERE omnitron_id BETWEEN %(first)s AND %(last)s;
    INSERT INTO order_execution_plans (order_id, state, attempt, context, created_at)
    SELECT id, 'completed', 1, '{}', now() FROM orders WHERE omnitron_id BETWEEN %(first)s AND %(last)s;
    INSERT INTO packages (number, order_id, plan_id, location_id, state, created_at)
    SELECT 'P' || orders.id || '-1', orders.id, plans.id, 1, 920, now()
    FROM orders JOIN order_execution_plans AS plans ON plans.order_id = orders.id
    WHERE omnitron_id BETWEEN %(first)s AND %(last)s;
    INSERT INTO package_items (package_id, order_item_id, sku, quantity, state)
    SELECT packages.id, order_items.id, sku, quantity, 920
    FROM packages JOIN order_items USING (order_id)
    JOIN orders ON orders.id = order_id
    WHERE orders.omnitron_id BETWEEN %(first)s AND %(last)s;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure replanning among packages that cannot be planned.")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--plannable", type=int, default=100)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres():
        few = measure_with(0, arguments.few, arguments.plannable)
        many = measure_with(arguments.few, arguments.many, arguments.plannable)
        first, second = measure_elsewhere()
    print(
        f"{arguments.plannable} packages replanned in {1000 * few:.0f} ms among {arguments.few}, in"
        f" {1000 * many:.0f} ms among {arguments.many}, ratio {many / few:.2f}"
    )
    print(f"{arguments.many} with stock where no rule looks: first run {first:.1f} s, second {second:.2f} s")


def measure_with(before: int, packages: int, plannable: int) -> float:
    """The median seconds of a run that finds so many plannable packages among all that wait."""
    with connection():
        for statement in STORE_OUT_OF_STOCK.split(";\n"):
            if statement.strip():
                execute(statement, {"first": before + 1, "last": packages})
        execute("VACUUM (ANALYZE)")
        execute("CHECKPOINT")
        taken = sorted(measure_once(plannable) for _ in range(ROUNDS))
    return taken[len(taken) // 2]


def measure_once(plannable: int) -> float:
    """Make some of them plannable, measure, and put everything back as it was."""
    with database.atomic() as everything:
        execute(
            """
            UPDATE package_items SET sku = 'BACK-IN-STOCK'
            WHERE package_id IN (SELECT id FROM packages ORDER BY id DESC LIMIT %s)
            """,
            (plannable,),
        )
        execute("INSERT INTO stock (sku, location_id, on_hand) VALUES ('BACK-IN-STOCK', 1, %s)", (plannable,))
        run = Run(database_now(), budget=timedelta(hours=1))
        started = time.perf_counter()
        counts = replan_packages(run, UNPLANNED_STATES, actor="benchmark", max_attempts=0)
        taken = time.perf_counter() - started
        assert counts["replanned"] == plannable, counts
        everything.rollback()
    return taken


def measure_elsewhere() -> tuple[float, float]:
    """The seconds of two runs after another, with stock for everything where no rule looks, for two days."""

    def run() -> float:
        now = Run(database_now(), budget=timedelta(hours=1))
        started = time.perf_counter()
        replan_packages(now, UNPLANNED_STATES, actor="benchmark", max_attempts=0)
        return time.perf_counter() - started

    with connection():
        execute("""UPDATE scenario_rules SET filters = '{"locations": []}'""")
        execute("UPDATE locations SET quota = NULL")
        execute(
            """
            INSERT INTO stock (sku, location_id, on_hand)
            SELECT DISTINCT sku, 2, 5 FROM package_items
            ON CONFLICT DO NOTHING
            """
        )
        for column in ("stock SET risen_at", "locations SET changed_at", "scenarios SET changed_at"):
            execute(f"UPDATE {column} = now() - interval '2 days'")
        execute("VACUUM (ANALYZE)")
        return run(), run()


if __name__ == "__main__":
    main()
