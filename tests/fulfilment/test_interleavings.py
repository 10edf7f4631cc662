"""A minute of everything at once, and the books balance."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import settings
from oms_workers.database import rows
from oms_workers.fulfilment.reconciliation import miscounted, ownerless
from tests.fulfilment.interleavings import PLACES, SKUS
from tests.fulfilment.samples import a_scenario, load_merchant

PROJECT = Path(settings.__file__).parent
SECONDS = 60

#: Lines of planned orders whose units are not, all of them and each once, in packages that nothing replaced.
MISPLACED = """
    SELECT order_items.id, order_items.quantity, sum(package_items.quantity) AS placed
    FROM order_items
    JOIN orders ON orders.id = order_items.order_id AND orders.state IN ('planned', 'settled')
    LEFT JOIN (
        package_items JOIN packages ON packages.id = package_id AND NOT EXISTS (
            SELECT FROM audit_events
            WHERE object_type = 'package' AND object_id = packages.id AND action = 'superseded'
        )
    ) ON package_items.order_item_id = order_items.id
    GROUP BY order_items.id
    HAVING coalesce(sum(package_items.quantity), 0) <> order_items.quantity
"""

#: Packages that are neither done nor dead and hold less, or more, than is in them.
UNCOVERED = """
    SELECT packages.number, package_items.quantity, sum(reservations.quantity) AS held
    FROM package_items
    JOIN packages ON packages.id = package_id AND packages.state IN (100, 200, 400)
    LEFT JOIN reservations ON package_item_id = package_items.id AND released_at IS NULL
    GROUP BY packages.number, package_items.id
    HAVING coalesce(sum(reservations.quantity), 0) <> package_items.quantity
"""

#: Packages that wait for a transfer while there is none that could still come.
FORGOTTEN = """
    SELECT number
    FROM packages
    WHERE state = 150
      AND NOT EXISTS (
          SELECT FROM transfer_orders AS transfer
          WHERE package_id = packages.id AND transfer.state NOT IN (400, 1000)
      )
"""


def test_a_minute_of_everything_at_once_leaves_nothing_to_reconcile(db: None) -> None:
    load_merchant(
        {place: {"priority": number, "quota": None if number else 40} for number, place in enumerate(PLACES)},
        {(sku, place): 10 for sku in SKUS for place in PLACES},
        a_scenario(
            {"mode": "single", "ranking": ["package_density"], "max_packages": 1},
            {"mode": "single", "transferable": True, "ranking": ["-stock_amount"]},
            {"mode": "fewest_splits", "outcome": "hold", "hold_reason": "look"},
            conditions={"channel": ["web"]},
        ),
        a_scenario({"ranking": ["priority"]}, name="the rest", priority=1),
    )

    ended = subprocess.run(
        [sys.executable, "-m", "tests.fulfilment.interleavings", str(SECONDS), "20261124"],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_MAX_CONNECTIONS": "10"},
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    done = ast.literal_eval(ended.stdout)
    assert (miscounted(), ownerless()) == ([], [])
    assert rows(MISPLACED) == []
    assert rows(UNCOVERED) == []
    assert rows(FORGOTTEN) == []
    # The test is worth something only if much happened.
    assert min(done[task] for task in ("plan", "replan", "load_a_snapshot", "command_something")) >= 20, done
    assert done["COMPLETE_PACKAGING"] and done["SHIP_TRANSFER"] and done["PRODUCT_NOT_FOUND_ADVANCED"], done
