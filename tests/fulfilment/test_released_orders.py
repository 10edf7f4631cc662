"""An order that a person has let go passes `hold`, with just the lines that it had then."""

import pytest

from oms_workers.database import connection, execute, rows
from oms_workers.fulfilment.dry_run import plan_without_committing
from oms_workers.fulfilment.planning.planner import RELEASED
from oms_workers.orders.held_orders import release_order
from oms_workers.packages.commands.registry import run_command
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import PLACES, packages, plan_all, replan, set_stock
from tests.orders.samples import an_order, store_orders

HOLDS = a_scenario(
    {"mode": "single", "outcome": "hold", "hold_reason": "Call the customer."}, {"ranking": ["priority"]}
)


@pytest.fixture(autouse=True)
def held(db: None) -> None:
    """An order that is held, since no location has all of it."""
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 5}, HOLDS)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    assert states() == ["held"]


def states() -> list[str]:
    return [order.state for order in rows("SELECT state FROM orders ORDER BY id")]


def test_a_released_order_is_planned_by_the_rules_after_the_one_that_held_it() -> None:
    release_order("7", actor="tests")

    plan_all()

    assert states() == ["planned"]
    assert packages() == [("P1-1", "GEBZE", 100), ("P1-2", "IZMIR", 100)]
    (plan,) = rows("SELECT context FROM order_execution_plans WHERE attempt = 2")
    assert plan.context["rules"][0]["passed"] == RELEASED
    assert_sound()


def test_it_is_held_again_when_its_lines_have_changed() -> None:
    release_order("7", actor="tests")
    store_orders(an_order(7, skus=("CHAIR", "LAMP", "CHAIR")))

    plan_all()

    assert states() == ["held"]


def test_what_changes_no_line_does_not_undo_the_release() -> None:
    release_order("7", actor="tests")
    store_orders(an_order(7, skus=("CHAIR", "LAMP"), channel="shop"))

    plan_all()

    assert states() == ["planned"]


def test_a_package_of_a_released_order_is_not_held_when_it_is_planned_again() -> None:
    release_order("7", actor="tests")
    plan_all()
    run_command("P1-2", "PRODUCT_NOT_FOUND", actor="tests")
    execute('UPDATE scenario_rules SET filters = \'{"locations": ["GEBZE"]}\' WHERE position = 1')
    set_stock("LAMP", "ANKARA", 1)

    assert replan()["replanned"] == 1
    assert packages()[-1] == ("P1-3", "ANKARA", 100)


def test_an_order_that_nobody_released_is_held_whatever_its_version() -> None:
    execute("UPDATE orders SET state = 'waiting', plan_version = 0")

    plan_all()

    assert states() == ["held"]


def test_a_dry_run_passes_the_hold_too() -> None:
    release_order("7", actor="tests")

    with connection():
        (planned,) = plan_without_committing("7")

    assert planned["hold_reason"] is None
    assert len(planned["packages"]) == 2
