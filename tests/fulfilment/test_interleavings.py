"""Everything at once, and the books balance."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import settings
from oms_workers.database import rows
from tests.fulfilment.interleavings import PLACES, SKUS
from tests.fulfilment.samples import (
    a_scenario,
    assert_books_balance,
    assert_every_line_is_somewhere,
    load_merchant,
)

PROJECT = Path(settings.__file__).parent


#: Locations with more packages to pack than their quota allows.
OVER_QUOTA = """
    SELECT locations.code, count(*)
    FROM locations
    JOIN packages ON packages.location_id = locations.id AND (packages.state < 400 OR packages.state = 1010)
    GROUP BY locations.id
    HAVING count(*) > quota
"""


@pytest.mark.parametrize(("seconds", "often"), [(10, 3), pytest.param(60, 20, marks=pytest.mark.soak)])
def test_everything_at_once_leaves_nothing_to_reconcile(db: None, seconds: int, often: int) -> None:
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
        [sys.executable, "-m", "tests.fulfilment.interleavings", str(seconds), "20261124"],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_MAX_CONNECTIONS": "10"},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    done = ast.literal_eval(ended.stdout)
    assert_books_balance()
    assert_every_line_is_somewhere()
    assert rows(OVER_QUOTA) == []
    # The test is worth something only if much happened.
    assert min(done[task] for task in ("plan", "replan", "load_a_snapshot", "command_something")) >= often, (
        done
    )
    if often < 20:
        return
    assert done["COMPLETE_PACKAGING"] and done["SHIP_TRANSFER"] and done["PRODUCT_NOT_FOUND_ADVANCED"], done
