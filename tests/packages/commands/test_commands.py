"""Commands on packages and transfers: what each changes, and what refuses it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oms_workers.database import connection, execute, rows
from oms_workers.orders.held_orders import NotHeldError, release_order
from oms_workers.packages.commands.registry import (
    DoubleCommandError,
    Option,
    UnknownCommandError,
    UnusedOptionError,
    WrongStateError,
    command,
    commands,
)
from oms_workers.packages.locked import UnknownPackageError
from oms_workers.packages.models import PackageState
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.reservations.models import Meaning
from tests.fulfilment.samples import a_scenario, assert_books_balance, load_merchant
from tests.fulfilment.steps import PLACES, plan_all
from tests.orders.samples import an_order, store_orders
from tests.packages.commands.shop import CALLER, discrepancies, do, everything, state, stock


def test_a_package_goes_from_the_shelf_to_the_street(package: str) -> None:
    assert stock() == (5, 2)

    said = [
        do(package, name)
        for name in ("START_PREPARING", "READY_FOR_PACKAGING", "COMPLETE_PACKAGING", "SHIP_THE_PACKAGE")
    ]

    assert said == ["preparing", "ready_for_packaging", "packed", "shipped"]
    assert (stock(), stock("LAMP")) == ((3, 0), (2, 0))
    assert rows("SELECT DISTINCT state FROM package_items") == [(600,)]
    moved = rows(
        "SELECT sku, sum(quantity)::int AS units FROM stock_movements WHERE kind = 'consumed' GROUP BY 1"
    )
    assert sorted(moved) == [("CHAIR", -2), ("LAMP", -1)]
    events = rows("SELECT action, actor FROM audit_events WHERE object_type = 'package' ORDER BY id")
    assert [event.action for event in events] == [
        "created",
        "preparing_started",
        "collected",
        "packed",
        "shipped",
    ]
    assert events[-1].actor == CALLER
    assert_books_balance()


@pytest.mark.parametrize("name", ["START_PREPARING", "READY_FOR_PACKAGING"])
def test_packaging_may_be_completed_at_once(package: str, name: str) -> None:
    if name == "READY_FOR_PACKAGING":
        do(package, "START_PREPARING")
        do(package, name)

    assert do(package, "COMPLETE_PACKAGING") == "packed"


PACKAGE_COMMANDS = [known for known in commands() if known.subject == "package"]


@pytest.mark.parametrize("known", PACKAGE_COMMANDS, ids=lambda known: known.name)
def test_a_command_in_a_wrong_state_names_both_and_changes_nothing(package: str, known: Any) -> None:
    for wrong in set(PackageState) - set(known.states):
        execute("UPDATE packages SET state = %s", (wrong.value,))
        before = everything()

        with pytest.raises(WrongStateError) as error:
            do(package, known.name)

        assert known.name in str(error.value)
        assert wrong.name.lower() in str(error.value)
        assert everything() == before


def test_every_command_is_a_transition_that_the_states_allow() -> None:
    for known in commands():
        transitions: Any = PACKAGE.transitions if known.subject == "package" else TRANSFER.transitions
        assert all(transitions[state] for state in known.states), known.name
        assert known.summary, known.name


def test_unknown_names_are_refused_with_the_known_ones(package: str) -> None:
    with pytest.raises(UnknownCommandError, match="SHIP_THE_PACKAGE"):
        do(package, "FLY")
    with pytest.raises(UnknownPackageError, match="'P9-9'"):
        do("P9-9", "SHIP_THE_PACKAGE")
    with pytest.raises(UnknownPackageError, match="is for transfers"):
        do(package, "SHIP_TRANSFER")


def test_of_two_operators_at_once_one_wins_and_the_other_is_told(package: str) -> None:
    def try_it(_: int) -> str:
        try:
            return do(package, "START_PREPARING")
        except WrongStateError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        said = sorted(pool.map(try_it, range(3)))

    assert said.count("preparing") == 1
    assert sum("P1-1 is preparing" in text for text in said) == 2
    assert len(rows("SELECT id FROM audit_events WHERE action = 'preparing_started'")) == 1


def test_a_blocked_package_goes_on_where_it_was(package: str) -> None:
    do(package, "START_PREPARING")

    assert do(package, "BLOCK") == "blocked"
    assert stock() == (5, 2)
    assert do(package, "UNBLOCK") == "preparing"
    assert_books_balance()


def test_a_cancelled_package_holds_nothing_and_settles_its_order(package: str) -> None:
    do(package, "CANCEL", reason="the customer called")

    assert state() is PackageState.CANCELLED
    assert (stock(), stock("LAMP")) == ((5, 0), (3, 0))
    assert rows("SELECT state FROM orders") == [("settled",)]
    assert rows("SELECT content->>'reason' AS r FROM audit_events WHERE action = 'cancelled'") == [
        ("the customer called",)
    ]
    assert_books_balance()


def test_an_order_with_another_package_is_not_settled(package: str) -> None:
    do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing={"CHAIR": 1})

    do(package, "CANCEL")
    assert rows("SELECT state FROM orders") == [("planned",)]
    do("P1-2", "CANCEL")
    assert rows("SELECT state FROM orders") == [("settled",)]


def test_a_held_order_waits_for_a_person_and_is_planned_when_it_is_let_go() -> None:
    hold = a_scenario({"mode": "single", "outcome": "hold", "hold_reason": "ask the customer"})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 0}, hold)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    assert rows("SELECT state FROM orders") == [("held",)]
    assert rows("SELECT state FROM order_execution_plans") == [("pending",)]
    assert rows("SELECT id FROM packages") == []

    load_merchant({}, {("CHAIR", "GEBZE"): 1})
    plan_all()
    assert rows("SELECT state FROM orders") == [("held",)]
    release_order("7", actor=CALLER)
    plan_all()

    assert rows("SELECT state FROM orders") == [("planned",)]
    with pytest.raises(NotHeldError, match="'7'"):
        release_order("7", actor=CALLER)


def test_a_held_order_whose_lines_change_is_planned_again() -> None:
    hold = a_scenario({"mode": "single", "outcome": "hold", "hold_reason": "ask the customer"})
    load_merchant(PLACES, {("LAMP", "GEBZE"): 1}, hold)
    store_orders(an_order(7, skus=("CHAIR",), modified_date="2026-11-01"))
    plan_all()

    store_orders(an_order(7, skus=("LAMP",), modified_date="2026-11-02"))
    plan_all()

    assert rows("SELECT state FROM orders") == [("planned",)]


def test_connections_are_given_back(package: str) -> None:
    def alone(name: str) -> Callable[[], str]:
        return lambda: do(package, name)

    with ThreadPoolExecutor(1) as pool:
        for name in ("BLOCK", "UNBLOCK") * 10:
            pool.submit(alone(name)).result()

    with connection():
        assert state() is PackageState.WAITING


@pytest.mark.parametrize("known", commands(), ids=lambda known: known.name)
@pytest.mark.parametrize(
    ("option", "request_"),
    [(Option.MISSING, {"missing": {"CHAIR": 1}}), (Option.STOCK, {"meaning": Meaning.ALL})],
)
def test_an_option_that_a_command_does_not_take_is_refused(
    package: str, known: Any, option: Option, request_: dict[str, Any]
) -> None:
    if option in known.takes:
        return
    before = everything()

    with pytest.raises(UnusedOptionError, match=f"{known.name} does not take {option.value}"):
        do(package, known.name, **request_)

    assert everything() == before


def test_an_option_that_a_command_takes_is_heeded(transfer: str) -> None:
    assert do(transfer, "TRANSFER_OUT_OF_STOCK", meaning=Meaning.NOTHING) == "out_of_stock"
    assert discrepancies() == {}


def test_a_command_is_registered_once() -> None:
    with pytest.raises(DoubleCommandError, match="SHIP_THE_PACKAGE"):
        command("SHIP_THE_PACKAGE", PackageState.PACKED)(lambda package, request, circumstances: None)

    assert [known.name for known in commands()].count("SHIP_THE_PACKAGE") == 1
