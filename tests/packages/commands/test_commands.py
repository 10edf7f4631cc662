"""Commands on packages and transfers: what each changes, and what refuses it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from oms_workers.database import connection, database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.orders.held_orders import NotHeldError, release_order
from oms_workers.packages.commands.registry import (
    DoubleCommandError,
    Option,
    Request,
    UnknownCommandError,
    UnusedOptionError,
    WrongStateError,
    command,
    commands,
    run_command,
)
from oms_workers.packages.commands.rejections import NotInPackageError
from oms_workers.packages.locked import UnknownPackageError
from oms_workers.packages.models import PackageState, TransferState
from oms_workers.packages.reconciliation import miscounted, ownerless
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.reservations.discrepancies import Meaning
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, load_merchant
from tests.orders.samples import an_order, store_orders

PLACES: dict[str, dict[str, Any]] = {"GEBZE": {"priority": 1}, "IZMIR": {"priority": 2}}
CALLER = "tests"


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def plan_all() -> None:
    plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))


@pytest.fixture
def package() -> str:
    """A package of two chairs and a lamp, waiting in Gebze, which has five and three of them."""
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "GEBZE"): 3}, a_scenario({"mode": "single"}))
    store_orders(an_order(7, skus=("CHAIR", "CHAIR", "LAMP")))
    plan_all()
    return "P1-1"


@pytest.fixture
def transfer() -> str:
    """A transfer of a lamp from Izmir to Gebze, for a package with a chair."""
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    return "T1-1-1"


def do(number: str, name: str, **request: Any) -> str:
    return run_command(number, name, Request(**request), actor=CALLER)


def state(number: str = "P1-1") -> PackageState:
    return PackageState(rows("SELECT state FROM packages WHERE number = %s", (number,))[0].state)


def stock(sku: str = "CHAIR", location: str = "GEBZE") -> tuple[int, int]:
    """On hand and reserved."""
    (level,) = rows(
        """
        SELECT on_hand, reserved FROM stock
        JOIN locations ON locations.id = location_id
        WHERE sku = %s AND code = %s
        """,
        (sku, location),
    )
    return level.on_hand, level.reserved


def discrepancies() -> dict[str, int]:
    return dict(
        rows("SELECT sku, sum(quantity)::int FROM reservations WHERE kind = 'discrepancy' GROUP BY sku")
    )


def items(number: str) -> list[tuple[str, int]]:
    return [
        (item.sku, item.quantity)
        for item in rows(
            """
            SELECT package_items.sku, quantity FROM package_items
            JOIN packages ON packages.id = package_id
            WHERE number = %s
            ORDER BY package_items.sku
            """,
            (number,),
        )
    ]


def assert_reconciled() -> None:
    assert (miscounted(), ownerless()) == ([], [])


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
    assert_reconciled()


@pytest.mark.parametrize("name", ["START_PREPARING", "READY_FOR_PACKAGING"])
def test_packaging_may_be_completed_at_once(package: str, name: str) -> None:
    if name == "READY_FOR_PACKAGING":
        do(package, "START_PREPARING")
        do(package, name)

    assert do(package, "COMPLETE_PACKAGING") == "packed"


def everything() -> list[Any]:
    tables = (
        "packages",
        "package_items",
        "reservations",
        "stock",
        "stock_movements",
        "audit_events",
        "excluded_locations",
        "orders",
        "transfer_orders",
    )
    return [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


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


# Rejections


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
    assert_reconciled()


@pytest.mark.parametrize(
    ("meaning", "blocked"),
    [(Meaning.NOTHING, {}), (Meaning.QUANTITY, {"LAMP": 1}), (Meaning.ALL, {"LAMP": 3})],
)
def test_what_a_rejection_means_can_be_said(package: str, meaning: Meaning, blocked: dict[str, int]) -> None:
    do(package, "PRODUCT_NOT_FOUND", missing={"LAMP": 1}, meaning=meaning)

    assert discrepancies() == blocked
    assert state() is PackageState.OUT_OF_STOCK
    assert_reconciled()


def test_all_is_what_nobody_else_holds(package: str) -> None:
    store_orders(an_order(8, skus=("CHAIR",)))
    plan_all()

    do(package, "PRODUCT_NOT_FOUND", missing={"CHAIR": 2})

    assert discrepancies() == {"CHAIR": 4}
    assert stock() == (5, 5)


def test_all_of_less_than_nothing_is_nothing(package: str) -> None:
    execute("UPDATE stock SET on_hand = 0")

    do(package, "PRODUCT_NOT_FOUND")

    assert discrepancies() == {}
    assert_reconciled()


def test_only_the_missing_items_are_planned_again(package: str) -> None:
    do(package, "START_PREPARING")

    said = do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing={"CHAIR": 1}, meaning=Meaning.QUANTITY)

    assert said == "preparing"
    assert (items("P1-1"), items("P1-2")) == ([("CHAIR", 1), ("LAMP", 1)], [("CHAIR", 1)])
    assert state("P1-2") is PackageState.OUT_OF_STOCK
    assert stock() == (5, 2)
    assert discrepancies() == {"CHAIR": 1}
    assert len(rows("SELECT 1 FROM excluded_locations")) == 1
    assert_reconciled()
    assert do(package, "COMPLETE_PACKAGING") == "packed"
    assert stock() == (4, 1)


def test_missing_units_of_one_line_split_it(package: str) -> None:
    execute("UPDATE package_items SET quantity = 4 WHERE sku = 'LAMP'")
    execute("UPDATE reservations SET quantity = 4 WHERE sku = 'LAMP'")
    execute("UPDATE stock SET on_hand = 9, reserved = 4 WHERE sku = 'LAMP'")

    do(package, "PRODUCT_NOT_FOUND_ADVANCED", missing={"LAMP": 3}, meaning=Meaning.ALL)

    assert (items("P1-1")[-1], items("P1-2")) == (("LAMP", 1), [("LAMP", 3)])
    assert stock("LAMP") == (9, 9)
    assert discrepancies() == {"LAMP": 8}
    assert_reconciled()


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


# Blocking, cancelling, holding


def test_a_blocked_package_goes_on_where_it_was(package: str) -> None:
    do(package, "START_PREPARING")

    assert do(package, "BLOCK") == "blocked"
    assert stock() == (5, 2)
    assert do(package, "UNBLOCK") == "preparing"
    assert_reconciled()


def test_a_cancelled_package_holds_nothing_and_settles_its_order(package: str) -> None:
    do(package, "CANCEL", reason="the customer called")

    assert state() is PackageState.CANCELLED
    assert (stock(), stock("LAMP")) == ((5, 0), (3, 0))
    assert rows("SELECT state FROM orders") == [("settled",)]
    assert rows("SELECT content->>'reason' AS r FROM audit_events WHERE action = 'cancelled'") == [
        ("the customer called",)
    ]
    assert_reconciled()


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


# Transfers


def transfer_state(number: str = "T1-1-1") -> TransferState:
    return TransferState(rows("SELECT state FROM transfer_orders WHERE number = %s", (number,))[0].state)


def test_a_transfer_brings_its_units_to_its_package(transfer: str) -> None:
    assert state() is PackageState.WAITING_FOR_TRANSFER
    assert stock("LAMP", "IZMIR") == (3, 1)

    said = [do(transfer, name) for name in ("READY_TRANSFER", "SHIP_TRANSFER")]
    assert stock("LAMP", "IZMIR") == (2, 0)
    said.append(do(transfer, "DELIVER_TRANSFER"))

    assert said == ["ready_for_shipment", "in_transit", "completed"]
    assert stock("LAMP", "GEBZE") == (1, 1)
    assert state() is PackageState.WAITING
    assert_reconciled()
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
    assert_reconciled()


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
    assert_reconciled()


def test_a_source_without_the_item_gives_it_back_and_says_so(transfer: str) -> None:
    assert do(transfer, "TRANSFER_OUT_OF_STOCK") == "out_of_stock"

    assert discrepancies() == {"LAMP": 3}
    assert stock("LAMP", "IZMIR") == (3, 3)
    assert state() is PackageState.WAITING_FOR_TRANSFER
    assert_reconciled()


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
