"""How fast does fulfil_waiting_orders plan, compared with merely writing what it writes?

    python -m benchmarks.planning [--orders 4000] [--backlog 100000]

The floor is plain SQL in the same run: the rows that it has written, taken out again and written once
more by psycopg, in sets of as many orders, with one statement a table and nothing read, decided or locked.
Then the cost of an order at two backlogs, and what the process's memory does over them.
"""

import argparse
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psutil
import psycopg
from psycopg.types.json import set_json_loads

from benchmarks import world
from oms_workers.database import connection, database_now, execute
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.scheduling.run import Run

SMALL_BACKLOG = 1_000

#: What planning writes, table by table: the columns, and which orders a row belongs to.
WRITTEN = {
    "order_execution_plans": "order_id = ANY(%s)",
    "packages": "order_id = ANY(%s)",
    "package_items": "package_id IN (SELECT id FROM packages WHERE order_id = ANY(%s))",
    "reservations": """
        package_item_id IN (SELECT package_items.id FROM package_items
                            JOIN packages ON packages.id = package_id WHERE order_id = ANY(%s))
    """,
}

Statement = tuple[str, tuple[Any, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure planning against the rows it writes.")
    parser.add_argument("--orders", type=int, default=4_000)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres() as url:
        ratios = [compare(url, arguments.orders, number) for number in range(arguments.rounds)]
        print(f"ratio to the floor: best {max(ratios):.2f}, median {sorted(ratios)[len(ratios) // 2]:.2f}")
        backlogs(arguments.backlog)


def compare(url: str, orders: int, number: int) -> float:
    """Plan so many orders, write the same rows again by plain SQL; the ratio of the two rates."""
    with connection():
        reset()
        world.store_orders(1, orders)
        execute("ANALYZE")
        execute("CHECKPOINT")
    ours = timed_plan()
    with psycopg.connect(url, autocommit=True) as session:
        batches = [*statements(session)]
        with connection():
            reset_plans()
            execute("CHECKPOINT")
        floor = timed_floor(session, batches)
    print(
        f"round {number + 1}: planning {orders / ours:.0f} orders/s, the same rows by plain SQL"
        f" {orders / floor:.0f} orders/s, ratio {floor / ours:.2f}"
    )
    return floor / ours


def timed_plan() -> float:
    with connection():
        run = Run(database_now(), budget=timedelta(hours=1))
    started = time.perf_counter()
    plan_waiting_orders(run)
    return time.perf_counter() - started


def timed_floor(session: psycopg.Connection[Any], batches: list[list[Statement]]) -> float:
    started = time.perf_counter()
    for batch in batches:
        with session.transaction():
            for sql, parameters in batch:
                session.execute(sql, parameters)
    return time.perf_counter() - started


def statements(session: psycopg.Connection[Any]) -> Iterator[list[Statement]]:
    """For each batch of planning, what writes its rows again, all of it in memory already."""
    # JSON goes as text, as planning sends it: encoding is ours, and is part of what it is compared with.
    set_json_loads(lambda text: bytes(text).decode(), session)
    batches = session.execute(
        """
        SELECT created_at, array_agg(order_id ORDER BY order_id)
        FROM order_execution_plans
        GROUP BY created_at
        ORDER BY created_at
        """
    ).fetchall()
    for at, orders in batches:
        yield [
            *(insert(session, table, where, orders) for table, where in WRITTEN.items()),
            insert(session, "stock_movements", "kind = 'reserved' AND at = ANY(%s)", [at]),
            insert(session, "audit_events", "at = ANY(%s)", [at]),
            update_orders(session, orders),
            update_stock(session, orders),
        ]


def insert(session: psycopg.Connection[Any], table: str, where: str, keys: list[Any]) -> Statement:
    columns = session.execute(
        """
        SELECT attname, format_type(atttypid, atttypmod)
        FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        (table,),
    ).fetchall()
    names = [name for name, _ in columns]
    found = session.execute(f"SELECT {', '.join(names)} FROM {table} WHERE {where}", (keys,)).fetchall()
    values = [list(column) for column in zip(*found, strict=True)]
    arrays = ", ".join(f"%s::{'text' if kind == 'jsonb' else kind}[]" for _, kind in columns)
    selected = ", ".join(f"{name}::jsonb" if kind == "jsonb" else name for name, kind in columns)
    listed = ", ".join(names)
    return f"INSERT INTO {table} ({listed}) SELECT {selected} FROM unnest({arrays}) AS new ({listed})", tuple(
        values
    )


def update_orders(session: psycopg.Connection[Any], orders: list[int]) -> Statement:
    states = dict(session.execute("SELECT id, state FROM orders WHERE id = ANY(%s)", (orders,)).fetchall())
    sql = """
        UPDATE orders SET state = planned.state, plan_version = orders.plan_version + 1
        FROM unnest(%s::bigint[], %s::text[]) AS planned (id, state)
        WHERE orders.id = planned.id
    """
    return sql, ([*states], [*states.values()])


def update_stock(session: psycopg.Connection[Any], orders: list[int]) -> Statement:
    found = session.execute(
        f"""
        SELECT sku, location_id, sum(quantity)
        FROM reservations
        WHERE {WRITTEN["reservations"]}
        GROUP BY sku, location_id
        """,
        (orders,),
    ).fetchall()
    sql = """
        UPDATE stock SET reserved = reserved + delta.units
        FROM unnest(%s::text[], %s::bigint[], %s::int[]) AS delta (sku, location_id, units)
        WHERE stock.sku = delta.sku COLLATE "C" AND stock.location_id = delta.location_id
    """
    return sql, tuple(list(column) for column in zip(*found, strict=True))


def reset_plans() -> None:
    """Take everything out again that planning has written."""
    execute(
        """
        TRUNCATE order_execution_plans, packages, package_items, reservations, stock_movements, audit_events
        CASCADE
        """
    )
    execute("UPDATE stock SET reserved = 0")
    execute("UPDATE orders SET state = 'waiting', plan_version = 0")
    execute("VACUUM (ANALYZE) orders, stock")


def reset() -> None:
    reset_plans()
    execute("TRUNCATE orders, order_items RESTART IDENTITY CASCADE")


def backlogs(large: int) -> None:
    """The cost of an order when few and when many wait, and the memory that the process has for them."""
    costs, memory = {}, {}
    for backlog in (SMALL_BACKLOG, large):
        costs[backlog] = []
        # The small one is repeated, or its figure would be that of two batches.
        for _ in range(10 if backlog == SMALL_BACKLOG else 1):
            with connection():
                reset()
                world.store_orders(1, backlog)
                world.analyze()
            costs[backlog].append(timed_plan() / backlog)
        memory[backlog] = psutil.Process().memory_info().rss / 1024 / 1024
    few, many = (sorted(costs[backlog])[len(costs[backlog]) // 2] for backlog in costs)
    for backlog, cost in ((SMALL_BACKLOG, few), (large, many)):
        print(f"backlog {backlog}: {1e6 * cost:.0f} µs an order, process at {memory[backlog]:.0f} MB")
    print(f"cost at {large} to cost at {SMALL_BACKLOG}: {many / few:.2f}")


if __name__ == "__main__":
    main()
