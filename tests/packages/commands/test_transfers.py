"""Commands on transfers, and on packages that wait for them."""

import pytest

from oms_workers.packages.models import PackageState, TransferState
from tests.fulfilment.samples import a_scenario, assert_books_balance, load_merchant
from tests.fulfilment.steps import PLACES, plan_all
from tests.orders.samples import an_order, store_orders
from tests.packages.commands.shop import discrepancies, do, state, stock, transfer_state


def test_a_transfer_brings_its_units_to_its_package(transfer: str) -> None:
    assert state() is PackageState.WAITING_FOR_TRANSFER
    assert stock("LAMP", "IZMIR") == (3, 1)

    said = [do(transfer, name) for name in ("READY_TRANSFER", "SHIP_TRANSFER")]
    assert stock("LAMP", "IZMIR") == (2, 0)
    said.append(do(transfer, "DELIVER_TRANSFER"))

    assert said == ["ready_for_shipment", "in_transit", "completed"]
    assert stock("LAMP", "GEBZE") == (1, 1)
    assert state() is PackageState.WAITING
    assert_books_balance()
    do("P1-1", "COMPLETE_PACKAGING")
    assert stock("LAMP", "GEBZE") == (0, 0)


def test_a_package_waits_for_the_last_of_its_transfers() -> None:
    places = {**PLACES, "ANKARA": {"priority": 3}}
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(places, {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1, ("STOOL", "ANKARA"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP", "STOOL")))
    plan_all()

    for number in ("T1-1-1", "T1-1-2"):
        assert state() is PackageState.WAITING_FOR_TRANSFER
        do(number, "SHIP_TRANSFER")
        do(number, "DELIVER_TRANSFER")

    assert state() is PackageState.WAITING


def test_a_package_blocked_while_it_waits_goes_on_when_it_is_unblocked(transfer: str) -> None:
    do("P1-1", "BLOCK")
    do(transfer, "SHIP_TRANSFER")
    do(transfer, "DELIVER_TRANSFER")

    assert state() is PackageState.BLOCKED
    assert do("P1-1", "UNBLOCK") == "waiting"
    assert_books_balance()


@pytest.mark.parametrize("shipped", [False, True])
def test_a_package_that_is_cancelled_stops_what_has_not_left(transfer: str, shipped: bool) -> None:
    if shipped:
        do(transfer, "SHIP_TRANSFER")

    do("P1-1", "CANCEL")

    if shipped:
        do(transfer, "DELIVER_TRANSFER")
        assert stock("LAMP", "GEBZE") == (1, 0)
    else:
        assert transfer_state() is TransferState.CANCELLED
        assert stock("LAMP", "IZMIR") == (3, 0)
    assert_books_balance()


def test_a_source_without_the_item_gives_it_back_and_says_so(transfer: str) -> None:
    assert do(transfer, "TRANSFER_OUT_OF_STOCK") == "out_of_stock"

    assert discrepancies() == {"LAMP": 3}
    assert stock("LAMP", "IZMIR") == (3, 3)
    assert state() is PackageState.WAITING_FOR_TRANSFER
    assert_books_balance()
