"""Kill -9 between any two statements: after it nothing is half done, and doing it again comes to its end."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
import settings
from oms_workers.database import database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.packages.commands.registry import Request, run_command
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import (
    a_scenario,
    assert_books_balance,
    assert_every_line_is_somewhere,
    load_merchant,
)
from tests.orders.samples import an_order, store_orders

PROJECT = Path(settings.__file__).parent
PLACES: dict[str, dict[str, Any]] = {
    "GEBZE": {"priority": 1, "quota": 100},
    "IZMIR": {"priority": 2},
    "ANKARA": {"priority": 3},
}
SINGLE = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]}, {})
#: Less than is promised, and a location more.
SNAPSHOT = """
{
    "locations": [{"code": "ADANA", "name": "Adana", "type": "store"}],
    "stock": [
        {"sku": "CHAIR", "location": "GEBZE", "on_hand": 1},
        {"sku": "LAMP", "location": "ADANA", "on_hand": 2}
    ]
}
"""


def waiting_orders() -> None:
    stock = {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 1, ("STOOL", "GEBZE"): 0}
    load_merchant(PLACES, stock, SINGLE)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR", "LAMP")), an_order(8, skus=("STOOL", "CHAIR")))


def planned() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "GEBZE"): 5}, SINGLE)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR", "LAMP")))
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))


def rejected() -> None:
    planned()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    load_merchant({}, {("CHAIR", "IZMIR"): 1, ("LAMP", "ANKARA"): 1})


def with_transfer() -> None:
    waiting_orders()
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))


def shipped_transfer() -> None:
    with_transfer()
    run_command("T1-1-1", "SHIP_TRANSFER", actor="tests")


def lost_transfer() -> None:
    with_transfer()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", Request(), actor="tests")
    load_merchant({}, {("LAMP", "ANKARA"): 1})


def held() -> None:
    load_merchant(PLACES, {}, a_scenario({"outcome": "hold", "hold_reason": "look"}))
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))


def short() -> None:
    with_transfer()
    load_merchant({}, {("CHAIR", "GEBZE"): 0, ("LAMP", "IZMIR"): 0})


def overdue() -> None:
    load_merchant(PLACES, {}, a_scenario({"outcome": "auto_cancel", "cancel_after_days": 0}))
    store_orders(an_order(7, skus=("CHAIR",)), an_order(8, skus=("LAMP",)))
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))


def switched_off() -> None:
    load_merchant({"ADANA": {}, **PLACES}, {("CHAIR", "GEBZE"): 5, ("CHAIR", "IZMIR"): 1}, SINGLE)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (7, 8)))
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))
    execute("UPDATE locations SET active = false WHERE code = 'GEBZE'")


def drifted() -> None:
    with_transfer()
    execute("UPDATE stock SET on_hand = on_hand + 3 WHERE sku = 'CHAIR'")
    execute("UPDATE stock SET reserved = 0")
    execute("UPDATE reservations SET released_at = now() WHERE kind = 'transfer'")


@pytest.mark.parametrize(
    ("operation", "prepare", "statements"),
    [
        ("plan", waiting_orders, 15),
        ("replan", rejected, 15),
        ("replan_transfers", lost_transfer, 12),
        ("clear_discrepancies", rejected, 6),
        ("load", planned, 20),
        ("relieve", short, 20),
        ("end_waits", overdue, 12),
        ("reconcile", drifted, 15),
        ("replan_location", switched_off, 20),
        ("load", rejected, 20),
        ("release_order", held, 4),
        ("prepare", planned, 7),
        ("block", planned, 8),
        ("refuse", planned, 12),
        ("reject_defective", planned, 12),
        ("pack", planned, 10),
        ("reject", planned, 12),
        ("reject_in_part", planned, 15),
        ("cancel", planned, 10),
        ("ship_transfer", with_transfer, 8),
        ("deliver_transfer", shipped_transfer, 12),
        ("lose_transfer", with_transfer, 10),
    ],
)
def test_a_kill_between_any_two_statements_leaves_nothing_half_done(
    db: None, operation: str, prepare: Any, statements: int, tmp_path: Path
) -> None:
    prepare()
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text(SNAPSHOT)

    ended = subprocess.run(
        [sys.executable, "-m", "tests.fulfilment.crash_points", operation],
        cwd=PROJECT,
        env={**os.environ, "SNAPSHOT": str(snapshot)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert int(ended.stdout) >= statements
    assert_books_balance()
    assert_every_line_is_somewhere()
    assert rows("SELECT number FROM packages GROUP BY number HAVING count(*) > 1") == []
