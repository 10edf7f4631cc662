"""Discrepancies on a real database: what a rejection has blocked, and for how long."""

from datetime import timedelta

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import execute, rows
from oms_workers.fulfilment import replanning
from oms_workers.packages.commands.registry import (
    run_command,
)
from oms_workers.reservations.discrepancies import clear
from tests.fulfilment.samples import assert_sound, load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, a_run, out_of_stock, plan_all, replan, set_stock
from tests.orders.samples import an_order, store_orders


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def clear_all(minimum_age: timedelta = timedelta(0)) -> int:
    return clear(a_run(), minimum_age=minimum_age, reason="task")["cleared"]


def test_cleared_discrepancies_let_the_stock_be_promised_again() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    assert rows("SELECT reserved FROM stock") == [(5,)]

    assert (clear_all(), clear_all()) == (1, 0)

    assert rows("SELECT on_hand, reserved FROM stock") == [(5, 0)]
    assert rows("SELECT quantity FROM stock_movements WHERE kind = 'released' ORDER BY id") == [(-1,), (-5,)]


@pytest.mark.parametrize(
    ("change", "cleared"),
    [
        ("created_at = now() - interval '61 minutes'", 1),
        ("created_at = now() - interval '59 minutes'", 0),
        ("expires_at = now()", 1),
        ("expires_at = now() + interval '1 minute'", 0),
        ("kind = kind", 0),
    ],
)
def test_a_discrepancy_has_its_time(change: str, cleared: int) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    execute("UPDATE stock SET counted_at = NULL, snapshot_at = NULL")
    execute(f"UPDATE reservations SET {change} WHERE kind = 'discrepancy'")

    assert clear_all(timedelta(hours=1)) == cleared


def test_a_later_count_ends_a_discrepancy_of_its_own_stock_only_and_at_once() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")

    set_stock("CHAIR", "GEBZE", 5)

    assert rows("SELECT sku FROM reservations WHERE kind = 'discrepancy' AND released_at IS NULL") == [
        ("LAMP",)
    ]


def test_batches_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replanning, "BATCH", 4)
    monkeypatch.setattr(replanning, "CANDIDATES", 6)
    out_of_stock(*range(1, 22))
    set_stock("CHAIR", "IZMIR", 17)

    assert replan()["replanned"] == 17
    assert_sound()


def test_one_counter_that_drifted_keeps_no_other_discrepancy_from_being_cleared() -> None:
    load_merchant(PLACES, {(sku, "GEBZE"): 5 for sku in ("CHAIR", "LAMP", "STOOL")}, GREEDY)
    store_orders(*(an_order(n, skus=(sku,)) for n, sku in enumerate(("CHAIR", "LAMP", "STOOL"), start=1)))
    plan_all()
    for number in (1, 2, 3):
        run_command(f"P{number}-1", "PRODUCT_NOT_FOUND", actor="tests")
    execute("UPDATE stock SET reserved = 0 WHERE sku = 'LAMP'")

    assert clear(a_run(), minimum_age=timedelta(0), reason="task") == {"cleared": 2}

    assert rows("SELECT sku FROM reservations WHERE kind = 'discrepancy' AND released_at IS NULL") == [
        ("LAMP",)
    ]
