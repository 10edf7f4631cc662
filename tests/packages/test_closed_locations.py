"""A location that is switched off: what waits there is named, and sent elsewhere on request."""

from typing import Any

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import execute, rows
from oms_workers.fulfilment.replanning_by_hand import replan_location
from oms_workers.operation.findings import _of_closed_locations
from oms_workers.packages.closed_locations import NotSwitchedOffError, still_at_closed_locations
from oms_workers.packages.commands.registry import run_command
from tests.fulfilment.samples import a_scenario, assert_books_balance, assert_sound, load_merchant
from tests.fulfilment.steps import GREEDY, packages, plan_all, transfers
from tests.orders.samples import an_order, store_orders

#: The default location stays on.
SHOPS: dict[str, dict[str, Any]] = {
    "ANKARA": {"priority": 3},
    "GEBZE": {"priority": 1},
    "IZMIR": {"priority": 2},
}


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def switch_off(code: str) -> None:
    load_merchant({}, {})
    execute("UPDATE locations SET active = false WHERE code = %s", (code,))


def test_what_waits_at_a_location_that_is_switched_off_is_named_with_the_way_out() -> None:
    load_merchant(SHOPS, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in range(1, 8)))
    plan_all()
    assert (still_at_closed_locations(), [*_of_closed_locations()]) == ([], [])
    switch_off("GEBZE")
    run_command("P7-1", "START_PREPARING", actor="tests")

    (finding,) = _of_closed_locations()

    assert finding == (
        "GEBZE is switched off, and 6 packages or transfers wait there: P1-1, P2-1, P3-1, P4-1, P5-1 and 1"
        " more. `oms replan --location GEBZE` sends them elsewhere."
    )


def test_what_nobody_has_begun_with_goes_elsewhere() -> None:
    load_merchant(SHOPS, {("CHAIR", "GEBZE"): 3, ("CHAIR", "IZMIR"): 1}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    plan_all()
    run_command("P1-1", "START_PREPARING", actor="tests")
    switch_off("GEBZE")

    found = replan_location("gebze", actor="tests")

    assert [(each.number, each.outcome.partition(":")[0], each.packages) for each in found] == [
        ("P2-1", "replanned", ("P2-2",)),
        ("P3-1", "still needs_replan", ()),
    ]
    assert packages() == [
        ("P1-1", "GEBZE", 200),
        ("P2-1", "GEBZE", 1000),
        ("P3-1", "GEBZE", 910),
        ("P2-2", "IZMIR", 100),
    ]
    assert still_at_closed_locations() == []
    assert_sound()


def test_a_transfer_gets_another_source_than_one_that_is_switched_off() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    stock = {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1, ("LAMP", "ANKARA"): 1}
    load_merchant(SHOPS, stock, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    switch_off("IZMIR")
    assert [each.number for each in still_at_closed_locations()] == ["T1-1-1"]

    found = replan_location("IZMIR", actor="tests")

    assert found == [("T1-1-1", "replanned", ())]
    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    assert_books_balance()


def test_a_transfer_without_another_source_is_told_by_what_became_of_its_package() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(SHOPS, {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    switch_off("IZMIR")
    execute("UPDATE locations SET active = false WHERE code = 'ANKARA'")

    (package, transfer) = replan_location("IZMIR", actor="tests")

    assert (package.number, transfer.number) == ("P1-1", "T1-1-1")
    assert package.outcome.startswith("still needs_replan")
    assert transfer.outcome == package.outcome
    assert_books_balance()


def test_a_location_that_is_on_keeps_its_packages() -> None:
    load_merchant(SHOPS, {("CHAIR", "GEBZE"): 3}, GREEDY)
    store_orders(an_order(1, skus=("CHAIR",)))
    plan_all()

    with pytest.raises(NotSwitchedOffError, match="load it with active false first"):
        replan_location("GEBZE", actor="tests")
    with pytest.raises(NotSwitchedOffError, match="'NOWHERE': no such location is known"):
        replan_location("NOWHERE", actor="tests")

    assert rows("SELECT state FROM packages") == [(100,)]
