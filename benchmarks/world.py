"""A database with a merchant and orders in it, for the benchmarks that need one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import settings
from oms_workers import migrations
from oms_workers.database import connection, execute, rows
from oms_workers.operation.load_files import load_files
from oms_workers.sandbox.servers import EmbeddedPostgres

PROJECT = Path(settings.__file__).parent

STORE_ORDERS = """
    INSERT INTO orders (omnitron_id, number, status, state, next_plan_at, channel, placed_at, received_at,
                        facts, payload)
    SELECT n, n, '400', '{state}', now(), 'web', now() - n * interval '1 s', now(), '{{"channel": "web"}}',
           jsonb_build_object('pk', n, 'notes', repeat('x', 400))
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""

#: One to four lines an order, over skus whose demand has a long tail.
STORE_LINES = """
    INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
    SELECT orders.id, orders.omnitron_id * 10 + line,
           (%(skus)s::text[])[1 + (power(random(), 3) * (cardinality(%(skus)s::text[]) - 1))::int],
           1, '400'
    FROM orders, generate_series(1, 1 + (orders.omnitron_id %% 4)::int) AS line
    WHERE orders.omnitron_id BETWEEN %(first)s AND %(last)s
"""


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own, migrated, with the examples loaded and this process pointed at it."""
    with tempfile.TemporaryDirectory(prefix="oms-") as directory:
        server = EmbeddedPostgres(Path(directory) / "pg").start()
        try:
            os.environ.update(DATABASE_URL=server.url, REDIS_URL="redis://127.0.0.1:1")
            settings.load(need_servers=True)
            prepare()
            yield server.url
        finally:
            server.stop(mode="immediate")


def prepare() -> None:
    migrations.migrate()
    load_files(sorted((PROJECT / "examples").glob("*.json")))
    with connection():
        # Nearly everything can be placed, as on a good day; the tail is out of stock, as in the examples.
        execute("UPDATE stock SET on_hand = on_hand * 10000 WHERE on_hand > 0")


def store_orders(first: int, last: int, *, state: str = "waiting") -> None:
    """Orders with these keys, and their lines."""
    skus = [stock.sku for stock in rows("SELECT DISTINCT sku FROM stock ORDER BY sku")]
    execute(STORE_ORDERS.format(state=state), {"first": first, "last": last})
    execute(STORE_LINES, {"first": first, "last": last, "skus": skus})


def analyze() -> None:
    execute("ANALYZE")


def describe_machine() -> str:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{os.cpu_count()} cores, {model}"
