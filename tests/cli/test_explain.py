"""`oms explain`: why an order went where it went."""

import json
from typing import Any

import pytest

from oms_workers.database import execute, rows
from oms_workers.fulfilment.planning.planner import Planner
from tests.examples import FILES
from tests.orders.samples import an_order, store_orders


def test_explain_tells_where_each_line_could_have_gone(oms) -> None:
    oms("load", *FILES)
    store_orders(an_order(7, skus=("CRUNCHY-LAMP",)))
    oms("run", "FULFIL_WAITING_ORDERS")

    said = oms("explain", "7").output

    assert "scenario everything else" in said
    assert "rule one warehouse (single, ranked by priority)" in said
    assert "chosen" in said
    assert "KADIKOY" in said
    assert "has the type store, which the rule does not use" in said
    (found,) = json.loads(oms("explain", "7", "--json").output)
    assert found["packages"][0]["items"] == [{"sku": "CRUNCHY-LAMP", "quantity": 1}]


def test_explain_shows_a_rejected_order_with_its_reason(oms) -> None:
    store_orders(an_order(8, skus=()))

    said = oms("explain", "8").output

    assert "was rejected: the order has no items" in said


def test_explain_of_an_unknown_order_is_an_error(oms) -> None:
    assert oms("explain", "404").exit_code == 1


def test_explain_dry_run_plans_and_writes_nothing(oms, package: str) -> None:
    store_orders(an_order(8, skus=("CRUNCHY-ARMCHAIR", "A-SKU-THAT-NOBODY-HAS")))

    said = oms("explain", "8", "--dry-run")
    (planned,) = json.loads(oms("explain", "8", "--dry-run", "--json").output)

    assert said.exit_code == 0
    assert "planned now, nothing written" in said.output
    assert planned["of"] == "order 8"
    assert [package["items"][0]["sku"] for package in planned["packages"]] == ["CRUNCHY-ARMCHAIR"]
    assert [line["sku"] for line in planned["leftovers"]] == ["A-SKU-THAT-NOBODY-HAS"]
    assert rows("SELECT state FROM orders WHERE number = '8'") == [("waiting",)]


def test_explain_shows_what_a_ranking_compared_and_what_was_replanned(oms, package: str) -> None:
    oms("command", package, "PRODUCT_NOT_FOUND", "--stock", "nothing")
    oms("run", "FULFIL_REPLANNING_ORDERS")

    (explained,) = json.loads(oms("explain", "7", "--json").output)
    said = oms("explain", "7").output

    assert [plan["package"] for plan in explained["plans"]] == [None, package]
    first_rule = explained["plans"][0]["context"]["rules"][0]
    assert first_rule["locations"][0]["rank"] == {"priority": 1}
    assert "of package P1-1" in said
    assert "priority 1" in said
    assert "has rejected what it has of what is left" in said


def test_explain_says_how_many_attempts_are_not_kept(oms, package: str) -> None:
    oms("command", package, "PRODUCT_NOT_FOUND", "--stock", "nothing")
    oms("run", "FULFIL_REPLANNING_ORDERS")
    assert "not kept" not in oms("explain", "7").output
    execute("UPDATE order_execution_plans SET attempt = 9 WHERE attempt = 2")

    (explained,) = json.loads(oms("explain", "7", "--json").output)

    assert explained["attempts_not_kept"] == 7
    assert "7 older attempts that placed nothing are not kept" in oms("explain", "7").output


def test_explain_gives_the_reason_of_each_refusal(oms, package: str) -> None:
    oms("command", package, "REFUSE", "--missing", "RED-LAMP=1", "--reason", "the roof leaks")

    said = " ".join(oms("explain", "7").output.split())
    (explained,) = json.loads(oms("explain", "7", "--json").output)

    assert "P1-1: rejected by operator:" in said
    assert "missing RED-LAMP 1" in said
    assert "reason the roof leaks" in said
    assert explained["packages"][0]["last_event"]["content"]["reason"] == "the roof leaks"


def test_explain_says_why_an_order_could_not_be_planned(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    oms("load", *FILES)
    store_orders(an_order(7))

    def fail(self: Any, order: Any) -> Any:
        raise ZeroDivisionError("a planner's bug")

    monkeypatch.setattr(Planner, "plan", fail)
    oms("run", "FULFIL_WAITING_ORDERS")

    said = " ".join(oms("explain", "7").output.split())

    assert "order 7: planning_failed by oms.fulfilment.tasks.fulfil_waiting_orders" in said
    assert "problem ZeroDivisionError: a planner's bug" in said
    assert "it is planned at the earliest at" in said
