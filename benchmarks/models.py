"""What does a query through models cost, compared with the same SQL by hand?

    python -m benchmarks.models [--times 200]

Three things that planning does with a batch, by models and by hand in turn, in the same run and on the same
rows: 500 orders are read and locked, 1,500 items of packages are inserted, 500 states are changed. Each is
undone afterwards, outside of what is timed.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import world
from oms_workers.database import connection, execute, rows, transaction
from oms_workers.fulfilment.orders_to_plan import ClaimedOrder
from oms_workers.fulfilment.package_rows import NewItem
from oms_workers.orders.models import Order, OrderState
from oms_workers.packages.models import PackageItem, PackageState
from oms_workers.sets import among, fetch, for_change, one_of

ORDERS = 500
ITEMS = 1_500


class Comparison(NamedTuple):
    """The same work twice, and what takes it back."""

    name: str
    by_models: Callable[[], object]
    by_hand: Callable[[], object]
    undo: Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure queries through models against SQL by hand.")
    parser.add_argument("--times", type=int, default=200)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres(), connection():
        world.store_orders(1, ORDERS)
        package_id = store_package()
        world.analyze()
        for comparison in (reading(), inserting(package_id), changing()):
            show(comparison, arguments.times, transaction)


def show(comparison: Comparison, times: int, transaction: Any) -> None:
    taken: dict[str, list[float]] = {"models": [], "hand": []}
    for _ in range(times):
        for way, work in (("models", comparison.by_models), ("hand", comparison.by_hand)):
            with transaction():
                started = time.perf_counter()
                work()
                taken[way].append(1000 * (time.perf_counter() - started))
                comparison.undo()
    models, hand = (statistics.median(taken[way]) for way in taken)
    print(f"{comparison.name}: {models:.1f} ms by models, {hand:.1f} ms by hand, ratio {models / hand:.2f}")


def reading() -> Comparison:
    ids = [*range(1, ORDERS + 1)]

    def by_models() -> object:
        query = (
            Order.select(Order.id, Order.plan_version, Order.facts)
            .where(one_of(Order.id, ids), among(Order.state, [OrderState.WAITING]))
            .order_by(Order.id)
        )
        return fetch(for_change(query, skip_locked=True), ClaimedOrder)

    def by_hand() -> object:
        return rows(
            """
            SELECT id, plan_version, facts
            FROM orders
            WHERE id = ANY(%s) AND state = 'waiting'
            ORDER BY id
            FOR NO KEY UPDATE SKIP LOCKED
            """,
            (ids,),
            into=ClaimedOrder,
        )

    assert by_models() == by_hand()
    return Comparison(f"{ORDERS} orders read and locked", by_models, by_hand, lambda: None)


def inserting(package_id: int) -> Comparison:
    state = PackageState.WAITING
    items = [NewItem(n, package_id, 1 + n % ORDERS, f"SKU-{n % 50}", 1, state) for n in range(1, ITEMS + 1)]

    def by_hand() -> object:
        return execute(
            """
            INSERT INTO package_items (id, package_id, order_item_id, sku, quantity, state)
            SELECT new.*
            FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::int[], %s::int[]) AS new
            """,
            [list(column) for column in zip(*items, strict=True)],
        )

    return Comparison(
        f"{ITEMS} items inserted",
        lambda: PackageItem.insert_set(items),
        by_hand,
        lambda: execute("DELETE FROM package_items"),
    )


def changing() -> Comparison:
    class Changed(NamedTuple):
        id: int
        state: OrderState

    changes = [Changed(n, OrderState.HELD) for n in range(1, ORDERS + 1)]

    def by_hand() -> object:
        return execute(
            """
            UPDATE orders
            SET state = new.state, priority = 1
            FROM unnest(%s::bigint[], %s::text[]) AS new (id, state)
            WHERE orders.id = new.id
            """,
            ([change.id for change in changes], [change.state.value for change in changes]),
        )

    return Comparison(
        f"{ORDERS} states changed",
        lambda: Order.update_set(changes, priority=1),
        by_hand,
        lambda: execute("UPDATE orders SET state = 'waiting'"),
    )


def store_package() -> int:
    execute(
        """
        INSERT INTO order_execution_plans (id, order_id, state, attempt, context, created_at)
        VALUES (1, 1, 'completed', 1, '{}', now())
        """
    )
    execute(
        """
        INSERT INTO packages (id, number, order_id, plan_id, location_id, state, created_at)
        VALUES (1, 'P1-1', 1, 1, 1, 100, now())
        """
    )
    return 1


if __name__ == "__main__":
    main()
