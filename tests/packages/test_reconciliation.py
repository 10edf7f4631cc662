"""Counters that drifted, and reservations that nobody holds."""

from datetime import timedelta

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.packages.reconciliation import fix, miscounted, ownerless, uncovered
from oms_workers.reservations.proof import unproven
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, assert_books_balance, load_merchant
from tests.orders.samples import an_order, store_orders

NOTHING = {"counters set": 0, "reservations released": 0, "items covered": 0}


def test_a_counter_that_drifted_is_found_and_mended(package: str) -> None:
    execute("UPDATE stock SET reserved = 4 WHERE sku = 'CHAIR'")
    assert [(row.sku, row.counter, row.live) for row in miscounted()] == [("CHAIR", 4, 2)]

    assert fix(at=database_now()) == {**NOTHING, "counters set": 1}

    assert (miscounted(), unproven()) == ([], [])
    # The movements were right, and the note of what was done adds nothing to them.
    recounted = "SELECT quantity, on_hand, reserved FROM stock_movements WHERE kind = 'recounted'"
    assert rows(recounted) == [(0, 5, 2)]


def test_a_reservation_of_a_package_that_holds_nothing_is_released(package: str) -> None:
    execute("UPDATE packages SET state = 1000")
    assert {row.owner for row in ownerless()} == {package}

    assert fix(at=database_now())["reservations released"] == 3

    assert (ownerless(), miscounted()) == ([], [])
    assert rows("SELECT DISTINCT reserved FROM stock") == [(0,)]


def test_a_reservation_without_a_row_of_stock_gets_one(package: str) -> None:
    execute("DELETE FROM stock WHERE sku = 'LAMP'")
    assert [(row.sku, row.counter, row.live) for row in miscounted()] == [("LAMP", None, 1)]

    fix(at=database_now())

    assert miscounted() == []
    assert rows("SELECT on_hand, reserved FROM stock WHERE sku = 'LAMP'") == [(3, 1)]


def test_where_all_is_well_nothing_is_done(package: str) -> None:
    assert fix(at=database_now()) == NOTHING
    assert rows("SELECT 1 FROM stock_movements WHERE kind = 'recounted'") == []


def test_a_lost_reservation_below_a_counter_that_is_too_low_is_mended(package: str) -> None:
    execute("UPDATE packages SET state = 1000")
    execute("UPDATE stock SET reserved = 0")

    fix(at=database_now())

    assert_books_balance()
    assert rows("SELECT DISTINCT reserved FROM stock") == [(0,)]


def test_a_package_that_holds_nothing_any_more_holds_what_it_needs_again(package: str) -> None:
    execute("UPDATE reservations SET released_at = now()")
    execute("UPDATE stock SET reserved = 0")
    assert {(row.owner, row.sku, row.wanted, row.held) for row in uncovered()} == {
        (package, "CHAIR", 1, 0),
        (package, "LAMP", 1, 0),
    }

    assert fix(at=database_now()) == {**NOTHING, "counters set": 2, "items covered": 3}

    assert_books_balance()
    assert rows("SELECT sku, reserved FROM stock WHERE reserved > 0 ORDER BY sku") == [
        ("CHAIR", 2),
        ("LAMP", 1),
    ]


@pytest.mark.parametrize("drift", ["quantity = 9", "sku = 'STOOL'", "location_id = 2"])
def test_a_reservation_of_the_wrong_thing_becomes_the_right_one(package: str, drift: str) -> None:
    execute(f"UPDATE reservations SET {drift} WHERE id = 1")
    assert len(uncovered()) == 1

    fix(at=database_now())

    assert_books_balance()


def test_a_transfer_that_holds_nothing_is_covered_at_its_source() -> None:
    places = {"GEBZE": {"priority": 1}, "IZMIR": {"priority": 2}}
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(places, {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))
    assert uncovered() == []
    execute("UPDATE reservations SET released_at = now() WHERE kind = 'transfer'")
    assert [(row.owner, row.sku) for row in uncovered()] == [("T1-1-1", "LAMP")]

    fix(at=database_now())

    assert_books_balance()
    assert rows("SELECT location_id, kind FROM reservations WHERE released_at IS NULL ORDER BY id") == [
        (1, "package"),
        (2, "transfer"),
    ]
