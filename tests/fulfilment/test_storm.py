"""Processes that are killed amid everything: a recount from outside finds all as it should be."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import settings
from oms_workers.database import connection_parameters, database_now
from oms_workers.packages.shortfalls import relieve_shortfalls
from tests.fulfilment.interleavings import PLACES, SKUS
from tests.fulfilment.samples import (
    a_scenario,
    assert_books_balance,
    assert_every_line_is_somewhere,
    load_merchant,
)

PROJECT = Path(settings.__file__).parent

#: Each by a query that shares nothing with the product: what it finds is wrong.
RECOUNT = {
    "on hand is not the sum of its movements": """
        SELECT sku, location_id, on_hand FROM stock WHERE on_hand <> (
            SELECT coalesce(sum(quantity), 0) FROM stock_movements AS moved
            WHERE (moved.sku, moved.location_id) = (stock.sku, stock.location_id)
              AND kind IN ('snapshot', 'received', 'consumed')
        )
    """,
    "reserved is not the sum of its movements": """
        SELECT sku, location_id, reserved FROM stock WHERE reserved <> (
            SELECT coalesce(sum(quantity), 0) FROM stock_movements AS moved
            WHERE (moved.sku, moved.location_id) = (stock.sku, stock.location_id)
              AND kind IN ('reserved', 'released', 'consumed')
        )
    """,
    "reserved is not the sum of the live reservations": """
        SELECT sku, location_id, reserved FROM stock WHERE reserved <> (
            SELECT coalesce(sum(quantity), 0) FROM reservations AS held
            WHERE (held.sku, held.location_id) = (stock.sku, stock.location_id) AND released_at IS NULL
        )
    """,
    "a unit is promised twice": """
        SELECT package_item_id FROM reservations JOIN package_items ON package_items.id = package_item_id
        WHERE released_at IS NULL
        GROUP BY package_item_id, package_items.quantity
        HAVING sum(reservations.quantity) > package_items.quantity
    """,
    "a line is in more live packages than it has units, or in fewer": """
        SELECT line.id FROM order_items AS line JOIN orders ON orders.id = line.order_id
        WHERE orders.state = 'planned' AND line.status = '400' AND line.quantity <> (
            SELECT coalesce(sum(item.quantity), 0)
            FROM package_items AS item JOIN packages ON packages.id = item.package_id
            WHERE item.order_item_id = line.id AND (packages.state <> 1000 OR NOT EXISTS (
                SELECT FROM audit_events
                WHERE object_type = 'package' AND object_id = packages.id AND action = 'superseded'
            ))
        )
    """,
}


@pytest.mark.soak
def test_processes_that_are_killed_amid_everything_leave_nothing_wrong(db: None) -> None:
    load_merchant(
        {place: {"priority": number} for number, place in enumerate(PLACES)},
        {(sku, place): 10 for sku in SKUS for place in PLACES},
        a_scenario(
            {"mode": "single", "ranking": ["package_density"], "max_packages": 1},
            {"mode": "single", "transferable": True, "ranking": ["-stock_amount"]},
            {"mode": "fewest_splits"},
        ),
    )

    ended = subprocess.run(
        [sys.executable, "-m", "tests.fulfilment.storm", "60", "20261125"],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_MAX_CONNECTIONS": "3"},
        capture_output=True,
        text=True,
        timeout=150,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    done = ast.literal_eval(ended.stdout)
    assert done["killed"] >= 8
    for name in ("plan", "replan", "plan_late", "edit_an_order", "load_a_snapshot", "refused counts"):
        assert done[name] >= 20, done
    for name in ("COMPLETE_PACKAGING", "SHIP_TRANSFER", "PRODUCT_NOT_FOUND", "CANCEL"):
        assert done[name], done
    with psycopg.connect(**connection_parameters(settings.current())) as outside:
        wrong = {what: outside.execute(query).fetchall() for what, query in RECOUNT.items()}
    assert not any(wrong.values()), wrong
    assert_books_balance()
    assert_every_line_is_somewhere()
    relieve_shortfalls(actor="task", at=database_now())
    assert_books_balance()
    assert_every_line_is_somewhere()
