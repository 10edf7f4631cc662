"""What a location says it does not have, or will not send."""

import pytest

from oms_workers.database import execute, rows
from oms_workers.packages.commands.rejections import NotInPackageError
from oms_workers.packages.models import PackageState
from oms_workers.reservations.models import Meaning
from tests.fulfilment.samples import assert_books_balance, note_edits
from tests.fulfilment.steps import plan_all
from tests.orders.samples import an_order, store_orders
from tests.packages.commands.shop import discrepancies, do, everything, items, state, stock


@pytest.mark.parametrize(
    ("name", "after", "blocked"),
    [
        ("REFUSE", "needs_replan", {}),
        ("PRODUCT_NOT_FOUND", "out_of_stock", {"CHAIR": 5, "LAMP": 3}),
        ("DEFECTIVE_PRODUCT", "defective_product", {"CHAIR": 2, "LAMP": 1}),
        ("UNAVAILABLE", "unavailable", {}),
    ],
)
def test_a_rejection_gives_back_what_is_held_and_says_what_it_means(
    package: str, name: str, after: str, blocked: dict[str, int]
) -> None:
    assert do(package, name) == after

    assert discrepancies() == blocked
    assert stock() == (5, blocked.get("CHAIR", 0))
    excluded = rows(
        "SELECT order_item_id, location_id, until > now() AS later FROM excluded_locations ORDER BY 1"
    )
    assert excluded == [(1, 1, True), (2, 1, True), (3, 1, True)]
    assert_books_balance()


@pytest.mark.parametrize(
    ("meaning", "blocked"),
    [(Meaning.NOTHING, {}), (Meaning.QUANTITY, {"LAMP": 1}), (Meaning.ALL, {"LAMP": 3})],
)
def test_what_a_rejection_means_can_be_said(package: str, meaning: Meaning, blocked: dict[str, int]) -> None:
    do(package, "PRODUCT_NOT_FOUND", missing={"LAMP": 1}, meaning=meaning)

    assert discrepancies() == blocked
    assert state() is PackageState.OUT_OF_STOCK
    assert_books_balance()


def test_all_is_what_nobody_else_holds(package: str) -> None:
    store_orders(an_order(8, skus=("CHAIR",)))
    plan_all()

    do(package, "PRODUCT_NOT_FOUND", missing={"CHAIR": 2})

    assert discrepancies() == {"CHAIR": 4}
    assert stock() == (5, 5)


def test_all_of_less_than_nothing_is_nothing(package: str) -> None:
    execute("UPDATE stock SET on_hand = 0")
    note_edits()

    do(package, "PRODUCT_NOT_FOUND")

    assert discrepancies() == {}
    assert_books_balance()


def test_only_the_missing_items_are_planned_again(package: str) -> None:
    do(package, "START_PREPARING")

    said = do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing={"CHAIR": 1}, meaning=Meaning.QUANTITY)

    assert said == "preparing"
    assert (items("P1-1"), items("P1-2")) == ([("CHAIR", 1), ("LAMP", 1)], [("CHAIR", 1)])
    assert state("P1-2") is PackageState.OUT_OF_STOCK
    assert stock() == (5, 2)
    assert discrepancies() == {"CHAIR": 1}
    assert len(rows("SELECT 1 FROM excluded_locations")) == 1
    assert_books_balance()
    assert do(package, "COMPLETE_PACKAGING") == "packed"
    assert stock() == (4, 1)


def test_missing_units_of_one_line_split_it(package: str) -> None:
    execute("UPDATE package_items SET quantity = 4 WHERE sku = 'LAMP'")
    execute("UPDATE reservations SET quantity = 4 WHERE sku = 'LAMP'")
    execute("UPDATE stock SET on_hand = 9, reserved = 4 WHERE sku = 'LAMP'")
    note_edits()

    do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing={"LAMP": 3}, meaning=Meaning.ALL)

    assert (items("P1-1")[-1], items("P1-2")) == (("LAMP", 1), [("LAMP", 3)])
    assert stock("LAMP") == (9, 9)
    assert discrepancies() == {"LAMP": 8}
    assert_books_balance()


def test_when_everything_is_missing_the_package_itself_waits(package: str) -> None:
    do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing={"CHAIR": 2, "LAMP": 1})

    assert state() is PackageState.OUT_OF_STOCK
    assert len(rows("SELECT id FROM packages")) == 1


@pytest.mark.parametrize("missing", [{}, {"CHAIR": 3}, {"CHAIR": 0}, {"STOOL": 1}])
def test_what_cannot_be_missing_is_refused_by_name(package: str, missing: dict[str, int]) -> None:
    before = everything()

    with pytest.raises(NotInPackageError):
        do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing=missing)

    assert everything() == before
