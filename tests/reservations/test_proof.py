"""Every counter is the sum of its movements; where it is not, it is said since when."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import database_now, execute, rows
from oms_workers.packages.commands.registry import run_command
from oms_workers.packages.reconciliation import fix
from oms_workers.reservations.models import MovementKind
from oms_workers.reservations.proof import first_difference, unproven
from tests.fulfilment.samples import assert_books_balance, load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, plan_all, set_stock
from tests.orders.samples import an_order, store_orders

#: Three days on which something moves: five chairs are counted, one is reserved, and it is packed.
DAYS = [datetime(2026, 11, day, 12, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.fixture(autouse=True)
def moved(db: None) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(1, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "COMPLETE_PACKAGING", actor="tests")
    for id_, day in enumerate(DAYS, start=1):
        execute("UPDATE stock_movements SET at = %s WHERE id = %s", (day, id_))
    assert rows("SELECT kind, on_hand, reserved FROM stock_movements ORDER BY id") == [
        ("snapshot", 5, 0),
        ("reserved", 5, 1),
        ("consumed", 4, 0),
    ]


def found() -> list[tuple[Any, ...]]:
    return [row[2:] for row in unproven()]


def test_counters_that_are_the_sum_of_their_movements_are_proved() -> None:
    assert unproven() == []


def test_units_that_were_added_by_hand_are_found_after_the_last_movement() -> None:
    execute("UPDATE stock SET on_hand = on_hand + 3")

    assert found() == [("on_hand", 7, 4, date(2026, 11, 3), None)]


def test_units_that_were_added_by_hand_are_found_on_the_day_of_the_next_movement() -> None:
    execute("UPDATE stock SET on_hand = on_hand + 3")
    store_orders(an_order(2, skus=("CHAIR",)))
    plan_all()
    execute("UPDATE stock_movements SET at = '2026-11-05 12:00+00' WHERE id = 4")

    assert found() == [("on_hand", 7, 4, date(2026, 11, 3), date(2026, 11, 5))]


def test_a_movement_that_was_deleted_is_found_on_the_day_of_the_next_one() -> None:
    execute("DELETE FROM stock_movements WHERE kind = 'reserved'")

    assert found() == [("reserved", 0, -1, date(2026, 11, 1), date(2026, 11, 3))]


def test_the_first_movement_that_was_deleted_leaves_no_day_on_which_all_was_right() -> None:
    execute("DELETE FROM stock_movements WHERE kind = 'snapshot'")

    assert found() == [("on_hand", 4, -1, None, date(2026, 11, 2))]


def test_movements_without_a_row_of_stock_are_found() -> None:
    execute("DELETE FROM stock")

    assert found() == [("on_hand", None, 4, date(2026, 11, 3), None)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE stock SET on_hand = on_hand + 3",
        "UPDATE stock SET reserved = 2",
        "DELETE FROM stock_movements WHERE kind = 'reserved'",
        "DELETE FROM stock_movements WHERE kind = 'snapshot'",
        "DELETE FROM stock",
        "UPDATE stock_movements SET quantity = 9 WHERE kind = 'consumed'",
    ],
)
def test_what_was_damaged_by_hand_is_mended_and_stays_so(damage: str) -> None:
    execute(damage)
    assert found()

    assert fix(at=database_now())["counters set"] == 1

    assert_books_balance()
    assert fix(at=database_now())["counters set"] == 0
    set_stock("CHAIR", "GEBZE", 8)
    assert_books_balance()


def test_a_row_of_an_earlier_release_shows_nothing() -> None:
    execute("UPDATE stock_movements SET on_hand = NULL, reserved = NULL WHERE id > 1")
    execute("UPDATE stock SET on_hand = 9")

    assert found() == [("on_hand", 9, 4, date(2026, 11, 1), None)]


def test_what_was_summed_up_comes_before_the_rest() -> None:
    """As retention does: the sum is a new row, with a higher number."""
    execute("DELETE FROM stock_movements WHERE kind = 'snapshot'")
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at, summed_rows)
        VALUES ('CHAIR', 1, 5, 'snapshot', 'the sum of older movements', %s, 1)
        """,
        (DAYS[0],),
    )
    assert unproven() == []
    execute("UPDATE stock SET on_hand = 9")

    assert found() == [("on_hand", 9, 4, date(2026, 11, 3), None)]


def test_of_two_differences_the_last_one_counts() -> None:
    class Row:
        kind = MovementKind.RECEIVED
        summed_rows = None

        def __init__(self, day: int, quantity: int, on_hand: int | None) -> None:
            self.day, self.quantity, self.on_hand = date(2026, 11, day), quantity, on_hand

    noted: Any = [Row(1, 2, 2), Row(2, 1, 9), Row(3, 1, 4), Row(4, 1, None), Row(5, 1, 7), Row(6, 1, 8)]

    assert first_difference(noted, "on_hand") == (date(2026, 11, 3), date(2026, 11, 5))
