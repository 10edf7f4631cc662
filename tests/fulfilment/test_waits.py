"""How long packages wait for stock: from when they became out of stock, whether or not there is any."""

from datetime import timedelta
from typing import Any

import pytest

from oms_workers.database import connection, database_now, execute, rows
from oms_workers.fulfilment.tasks import FULFIL_REPLANNING_ORDERS
from oms_workers.fulfilment.waits import limit_waits
from oms_workers.packages.commands.registry import run_command
from oms_workers.packages.ended_waits import cancel_ended_waits
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, assert_books_balance, load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, a_run, out_of_stock, packages, plan_all, replan, set_stock
from tests.orders.samples import an_order, store_orders

THREE_DAYS = {"outcome": "auto_cancel", "cancel_after_days": 3}


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def rejected(*rules: dict[str, Any]) -> None:
    """A package that was not found at the only place that had it."""
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, a_scenario(*rules))
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    age(timedelta(days=1))


def age(by: timedelta) -> None:
    execute("UPDATE packages SET changed_at = changed_at - %s", (by,))


def days_of_wait() -> list[float | None]:
    found = rows("SELECT extract(epoch FROM cancel_after - changed_at) / 86400 AS days FROM packages")
    return [None if package.days is None else float(package.days) for package in found]


def test_a_package_without_stock_anywhere_ends_days_after_it_became_out_of_stock() -> None:
    rejected(THREE_DAYS)
    assert replan()["looked_at"] == 0

    assert limit_waits(a_run()) == 1

    assert days_of_wait() == [3]
    later = Run(database_now() + timedelta(days=2, seconds=1), budget=timedelta(minutes=1))
    assert cancel_ended_waits(later, actor=FULFIL_REPLANNING_ORDERS) == 1
    assert packages() == [("P1-1", "GEBZE", 1000)]
    assert_books_balance()


def test_an_attempt_counts_from_when_it_became_out_of_stock_too() -> None:
    rejected({"filters": {"locations": ["GEBZE"]}, **THREE_DAYS})
    set_stock("CHAIR", "IZMIR", 5)

    assert replan()["without_success"] == 1

    assert days_of_wait() == [3]


def test_what_an_attempt_leaves_has_waited_since_the_package_did() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("LAMP", "GEBZE"): 1}, a_scenario(THREE_DAYS))
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    age(timedelta(days=2))
    set_stock("LAMP", "IZMIR", 1)

    replan()

    (left,) = rows("SELECT cancel_after - now() AS rest FROM packages WHERE number = 'P1-3'")
    assert timedelta(hours=23) < left.rest <= timedelta(days=1)


@pytest.mark.parametrize(
    "rules",
    [
        [{}],
        [{"outcome": "hold", "hold_reason": "look"}, THREE_DAYS],
        [{"mode": "single"}],
    ],
)
def test_without_a_rule_that_cancels_it_waits_for_as_long_as_it_takes(rules: list[dict[str, Any]]) -> None:
    rejected(*rules)

    assert limit_waits(a_run()) == 0
    assert days_of_wait() == [None]


def test_a_package_is_asked_once_until_the_scenarios_change() -> None:
    out_of_stock(7)
    load_merchant(
        {}, {}, a_scenario(THREE_DAYS, name="others", conditions={"channel": ["shop"]}, priority=-1)
    )
    limit_waits(a_run())
    asked = rows("SELECT replanned_at FROM packages")

    limit_waits(a_run())
    assert rows("SELECT replanned_at FROM packages") == asked

    load_merchant({}, {}, a_scenario(THREE_DAYS, name=GREEDY.name))
    assert limit_waits(a_run()) == 1
    assert days_of_wait() == [3]


def test_what_was_said_first_holds() -> None:
    rejected(THREE_DAYS)
    limit_waits(a_run())
    load_merchant({}, {}, a_scenario({**THREE_DAYS, "cancel_after_days": 9}))

    with connection():
        assert limit_waits(a_run()) == 0

    assert days_of_wait() == [3]
