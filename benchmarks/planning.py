"""How fast does fulfil_waiting_orders plan, compared with merely writing what it writes?

    python -m benchmarks.planning [--orders 4000] [--backlog 100000]
    python -m benchmarks.planning --locations 1000 [--skus 300] [--orders 500]
    python -m benchmarks.planning --processes 2 [--orders 8000]

The floor is plain SQL in the same run: the rows that it has written, taken out again and written once
more by psycopg, in sets of as many orders, with one statement a table and nothing read, decided or locked.
Then the cost of an order at two backlogs, and what the process's memory does over them.

With `--locations` a merchant has so many stores, each with some units of each sku. With `--processes` so many
plan at once what one has planned before, from plentiful stock.
"""

import argparse
import os
import resource
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psutil
import psycopg
from psycopg.types.json import set_json_loads

from benchmarks import world
from oms_workers.database import connection, database, database_now, execute, rows
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
    parser.add_argument("--orders", type=int)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--locations", type=int)
    parser.add_argument("--skus", type=int, default=300)
    parser.add_argument("--processes", type=int)
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres() as url:
        if arguments.locations:
            many_stores(arguments.locations, arguments.skus, arguments.orders or 500, arguments.rounds)
            return
        if arguments.processes:
            at_once(arguments.processes, arguments.orders or 8_000, arguments.rounds)
            return
        orders = arguments.orders or 4_000
        ratios = [compare(url, orders, number) for number in range(arguments.rounds)]
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


STORE_STORES = """
    INSERT INTO locations (code, name, type, priority, country, latitude, longitude)
    SELECT 'STORE-' || n, 'Store ' || n, CASE n %% 20 WHEN 0 THEN 'warehouse' ELSE 'store' END, n %% 9, 'TR',
           36.5 + 5 * random(), 27 + 16 * random()
    FROM generate_series(1, %s) AS n
"""

#: From none to four units of each sku in each store, and none in the warehouses.
STOCK_STORES = """
    INSERT INTO stock (sku, location_id, on_hand)
    SELECT sku, locations.id, floor(5 * random())
    FROM (SELECT DISTINCT sku FROM stock) AS skus, locations
    WHERE code LIKE 'STORE-%%' AND type = 'store'
"""

#: Each order goes to another address.
ADDRESS_ORDERS = """
    UPDATE orders SET facts = facts || jsonb_build_object(
        'country', 'TR', 'latitude', (36.5 + 5 * random())::text, 'longitude', (27 + 16 * random())::text)
"""


def many_stores(locations: int, skus: int, orders: int, rounds: int) -> None:
    """Orders a second, the memory of the process and the trace of an order, with so many stores."""
    with connection():
        execute("UPDATE stock SET on_hand = 0")
        execute(
            """
            INSERT INTO stock (sku, location_id, on_hand)
            SELECT 'SKU-' || n, 1, 0 FROM generate_series(1, %s) AS n
            """,
            (skus,),
        )
        execute(STORE_STORES, (locations,))
        execute(STOCK_STORES)
    for _ in range(rounds):
        with connection():
            reset()
            world.store_orders(1, orders)
            execute(ADDRESS_ORDERS)
            world.analyze()
        before = time.process_time()
        taken = timed_plan()
        busy = time.process_time() - before
        with connection():
            (trace,) = rows("SELECT avg(length(context::text))::int AS length FROM order_execution_plans")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{locations} stores, {skus} skus, {orders} orders: {orders / taken:.0f} orders/s,"
            f" {orders / busy:.0f} a second of the process's own time, process at most {memory:.0f} MiB,"
            f" {trace.length / 1000:.1f} kB of trace an order"
        )


def at_once(processes: int, orders: int, rounds: int) -> None:
    """How much faster several processes plan than one."""
    ratios = []
    for _ in range(rounds):
        rates = []
        for count in (1, processes):
            with connection():
                reset()
                world.store_orders(1, orders)
                world.analyze()
                execute("CHECKPOINT")
            rates.append(orders / timed_processes(count))
        ratios.append(rates[1] / rates[0])
        print(f"one process {rates[0]:.0f} orders/s, {processes} {rates[1]:.0f}, ratio {ratios[-1]:.2f}")
    print(f"ratio of {processes} to one: best {max(ratios):.2f}, median {sorted(ratios)[rounds // 2]:.2f}")


def timed_processes(count: int) -> float:
    """The seconds until the last of so many processes, forked before, has found nothing more."""
    database.close_all()
    start = time.monotonic() + 0.5
    children = []
    for _ in range(count - 1):
        child = os.fork()
        if child == 0:
            plan_at(start)
            os._exit(0)
        children.append(child)
    plan_at(start)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    return time.monotonic() - start


def plan_at(start: float) -> None:
    with connection():
        run = Run(database_now(), budget=timedelta(hours=1))
        time.sleep(max(0.0, start - time.monotonic()))
        plan_waiting_orders(run)


if __name__ == "__main__":
    main()
