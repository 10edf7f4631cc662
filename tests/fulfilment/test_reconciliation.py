"""Counters that drifted, and reservations that nobody holds."""

import pytest

import schedules  # noqa: F401 - registers the commands
from oms_workers.database import database_now, execute, rows
from oms_workers.fulfilment.reconciliation import fix, miscounted, ownerless
from tests.fulfilment.commands.test_commands import package  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def test_a_counter_that_drifted_is_found_and_mended(package: str) -> None:  # noqa: F811
    execute("UPDATE stock SET reserved = 4 WHERE sku = 'CHAIR'")
    assert [(row.sku, row.counter, row.live) for row in miscounted()] == [("CHAIR", 4, 2)]

    assert fix(at=database_now()) == {"reservations released": 0, "counters set": 1}

    assert miscounted() == []
    assert rows("SELECT quantity FROM stock_movements WHERE kind = 'recounted'") == [(-2,)]


def test_a_reservation_of_a_package_that_holds_nothing_is_released(package: str) -> None:  # noqa: F811
    execute("UPDATE packages SET state = 1000")
    assert {row.owner for row in ownerless()} == {package}

    assert fix(at=database_now())["reservations released"] == 3

    assert (ownerless(), miscounted()) == ([], [])
    assert rows("SELECT DISTINCT reserved FROM stock") == [(0,)]


def test_a_reservation_without_a_row_of_stock_gets_one(package: str) -> None:  # noqa: F811
    execute("DELETE FROM stock WHERE sku = 'LAMP'")
    assert [(row.sku, row.counter, row.live) for row in miscounted()] == [("LAMP", None, 1)]

    fix(at=database_now())

    assert miscounted() == []
    assert rows("SELECT on_hand, reserved FROM stock WHERE sku = 'LAMP'") == [(0, 1)]


def test_where_all_is_well_nothing_is_done(package: str) -> None:  # noqa: F811
    assert fix(at=database_now()) == {"reservations released": 0, "counters set": 0}
    assert rows("SELECT 1 FROM stock_movements WHERE kind = 'recounted'") == []
