"""What the tests of replanning do again and again: plan, replan, set stock, look."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import oms_workers.packages.commands  # noqa: F401 - registers the commands
import settings
from oms_workers.database import database_now, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.packages.models import UNPLANNED_STATES, PackageState
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, load_merchant
from tests.orders.samples import an_order, store_orders

PROJECT = Path(settings.__file__).parent
PLACES: dict[str, dict[str, Any]] = {
    "GEBZE": {"priority": 1},
    "IZMIR": {"priority": 2},
    "ANKARA": {"priority": 3},
}


GREEDY = a_scenario({"ranking": ["priority"]})


STOCKLESS = (PackageState.OUT_OF_STOCK, PackageState.DEFECTIVE_PRODUCT)


def a_run(slot: datetime | None = None) -> Run:
    return Run(database_now(), budget=timedelta(minutes=1), slot=slot)


def plan_all() -> None:
    plan_waiting_orders(a_run())


def replan(
    states: Any = UNPLANNED_STATES, *, run: Run | None = None, max_attempts: int = 0
) -> dict[str, int]:
    return replan_packages(run or a_run(), states, actor="task", max_attempts=max_attempts)


def set_stock(sku: str, place: str, units: int) -> None:
    load_merchant({}, {(sku, place): units})


def packages() -> list[tuple[Any, ...]]:
    """Each package: number, location, state."""
    found = rows(
        """
        SELECT number, code, packages.state FROM packages
        JOIN locations ON locations.id = location_id
        ORDER BY packages.id
        """
    )
    return [tuple(package) for package in found]


def transfers() -> list[tuple[Any, ...]]:
    found = rows(
        """
        SELECT number, code, transfer_orders.state FROM transfer_orders
        JOIN locations ON locations.id = source_id
        ORDER BY transfer_orders.id
        """
    )
    return [tuple(transfer) for transfer in found]


def out_of_stock(*keys: int, sku: str = "CHAIR") -> None:
    """Orders whose packages wait for stock at the default location."""
    if not rows("SELECT id FROM locations"):
        load_merchant(PLACES, {}, GREEDY)
    store_orders(*(an_order(key, skus=(sku,)) for key in keys))
    plan_all()


def run_planners(what: str, *, processes: int, batch: int) -> None:
    """Let so many processes plan at once, in batches of this size, until nothing is left; none may fail."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fulfilment.planners", what, str(processes), str(batch)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ended.returncode == 0, ended.stderr
    assert "deadlock" not in ended.stderr
