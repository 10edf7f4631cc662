"""Replanning transfers on a real database: another source for what a transfer brings."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import database, database_now, execute, rows
from oms_workers.fulfilment import transfer_sources
from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.packages.commands.registry import (
    Request,
    run_command,
)
from oms_workers.reservations.discrepancies import clear
from oms_workers.reservations.models import Meaning
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, assert_books_balance, load_merchant
from tests.fulfilment.steps import PLACES, a_run, packages, plan_all, replan, set_stock, transfers
from tests.orders.samples import an_order, store_orders


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


@pytest.fixture
def lost_transfer() -> None:
    """A transfer of a lamp to Gebze, whose source Izmir does not have it."""
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.NOTHING), actor="tests")


def test_a_transfer_gets_another_source_and_never_one_already_tried(lost_transfer: None) -> None:
    assert replan_transfers(a_run()) == {"looked_at": 0, "replaced": 0, "needs_replan": 0}
    set_stock("LAMP", "ANKARA", 1)

    assert replan_transfers(a_run()) == {"looked_at": 1, "replaced": 1, "needs_replan": 0}

    assert transfers() == [("T1-1-1", "IZMIR", 1000), ("T1-1-2", "ANKARA", 100)]
    assert rows("SELECT sku, reserved FROM stock WHERE location_id = 3") == [("LAMP", 1)]
    run_command("T1-1-2", "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.NOTHING), actor="tests")
    assert replan_transfers(a_run())["replaced"] == 0
    assert transfers()[-1] == ("T1-1-2", "ANKARA", 1000)
    assert_books_balance()


def test_the_next_source_is_ranked_by_the_rule_and_says_why_it_was_chosen(lost_transfer: None) -> None:
    rule = {"mode": "single", "transferable": True, "ranking": ["-stock_amount"]}
    load_merchant(
        {"ADANA": {"priority": 1, "is_default": False}},
        {("LAMP", "ANKARA"): 4, ("LAMP", "ADANA"): 2},
        a_scenario(rule),
    )

    assert replan_transfers(a_run())["replaced"] == 1

    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    (plan,) = rows("SELECT context FROM order_execution_plans WHERE attempt = 2")
    assert plan.context["transfer"] == "T1-1-1"
    (traced,) = plan.context["rules"]
    assert {line["location"]: line["verdict"] for line in traced["locations"]} == {
        "ANKARA": trace.SOURCE,
        "ADANA": trace.RANKED_BEHIND,
        "GEBZE": transfer_sources.NOT_ALL_OF_IT,
        "IZMIR": transfer_sources.BARRED,
    }


def test_a_source_that_has_denied_a_line_is_not_asked_for_it_by_a_new_plan() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", Request(), actor="tests")
    run_command("P1-1", "REFUSE", actor="tests")
    clear(a_run(), minimum_age=timedelta(0), reason="task")

    replan()

    assert packages() == [("P1-1", "GEBZE", 910)]


def test_a_refusal_denies_nothing_that_a_transfer_was_to_bring() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3, ("LAMP", "GEBZE"): 0}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()

    run_command("P1-1", "REFUSE", Request(meaning=Meaning.QUANTITY), actor="tests")

    assert rows("SELECT sku, quantity FROM reservations WHERE kind = 'discrepancy'") == [("CHAIR", 1)]


def test_a_transfer_whose_package_is_gone_is_left_alone(lost_transfer: None) -> None:
    set_stock("LAMP", "ANKARA", 1)
    run_command("P1-1", "CANCEL", actor="tests")

    assert replan_transfers(a_run())["replaced"] == 0
    assert transfers() == [("T1-1-1", "IZMIR", 1000)]


def test_two_runs_at_once_replace_a_transfer_once(lost_transfer: None) -> None:
    set_stock("LAMP", "ANKARA", 5)

    runs = [a_run() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = [*pool.map(replan_transfers, runs)]

    assert sum(result["replaced"] for result in results) == 1
    assert len(transfers()) == 2
    assert_books_balance()


def test_the_rule_that_asked_for_a_transfer_says_where_from_it_may_come() -> None:
    rule = {
        "mode": "single",
        "transferable": True,
        "ranking": ["priority"],
        "transfer_from": {"locations": ["GEBZE", "IZMIR"]},
    }
    stock = {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3, ("LAMP", "ANKARA"): 3}
    load_merchant(PLACES, stock, a_scenario(rule))
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", actor="tests")

    assert replan_transfers(a_run())["replaced"] == 0


def test_a_source_that_has_rejected_the_line_is_no_source(lost_transfer: None) -> None:
    set_stock("LAMP", "ANKARA", 1)
    execute("INSERT INTO excluded_locations VALUES (2, 3, now() + interval '1 day')")

    assert replan_transfers(a_run())["replaced"] == 0


def test_a_package_whose_transfers_cannot_come_may_be_refused_and_planned_anew(lost_transfer: None) -> None:
    for place in ("IZMIR", "ANKARA"):
        set_stock("LAMP", place, 5)
        set_stock("CHAIR", place, 5)
    run_command("P1-1", "REFUSE", actor="tests")

    assert replan()["replanned"] == 1
    # Gebze has refused the package, and Izmir has denied the lamp.
    assert packages()[-1][1:] == ("ANKARA", 100)
    assert_books_balance()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_transfer_lost_on_its_way_is_looked_for_elsewhere(cancelled: bool) -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3, ("LAMP", "ANKARA"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "SHIP_TRANSFER", actor="tests")
    if cancelled:
        run_command("P1-1", "CANCEL", actor="tests")

    said = run_command("T1-1-1", "TRANSFER_LOST", actor="tests")

    assert said == ("cancelled" if cancelled else "out_of_stock")
    assert replan_transfers(a_run())["replaced"] == (0 if cancelled else 1)
    assert rows("SELECT on_hand, reserved FROM stock WHERE location_id = 2") == [(2, 0)]
    assert_books_balance()


def test_a_run_that_must_stop_does_so_after_one_transfer() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 5}, scenario)
    store_orders(*(an_order(key, skus=("CHAIR", "LAMP")) for key in (7, 8, 9)))
    plan_all()
    for number, *_ in transfers():
        run_command(number, "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.NOTHING), actor="tests")
    set_stock("LAMP", "ANKARA", 5)

    assert replan_transfers(Run(database_now(), budget=timedelta(0))) == {
        "looked_at": 1,
        "replaced": 1,
        "needs_replan": 0,
    }


def test_the_statements_of_a_transfer_do_not_grow_with_its_candidates(
    lost_transfer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = _statements(monkeypatch, {"ANKARA": {"priority": 3}})
    run_command("T1-1-2", "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.NOTHING), actor="tests")
    many = _statements(monkeypatch, {f"STORE-{number}": {"priority": 5} for number in range(20)})

    assert many == few


def _statements(monkeypatch: pytest.MonkeyPatch, places: dict[str, dict[str, Any]]) -> int:
    """How many statements it takes to find another source, with lamps at these places."""
    load_merchant(places, {("LAMP", place): 1 for place in places})
    sent: list[str] = []
    kind = type(database)
    execute_sql = kind.execute_sql

    def count(self: Any, sql: str, *arguments: Any, **options: Any) -> Any:
        sent.append(sql)
        return execute_sql(self, sql, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "execute_sql", count)
        assert replan_transfers(a_run())["replaced"] == 1
    return len(sent)
