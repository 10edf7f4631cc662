"""What an earlier release has stored is planned with, also where a file must not say it any more."""

import pytest

from oms_workers.database import execute, rows
from oms_workers.fulfilment.scenarios import active_scenarios
from tests.fulfilment.samples import load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, plan_all
from tests.orders.samples import an_order, store_orders


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


@pytest.mark.parametrize(
    "stored",
    [
        "UPDATE scenario_rules SET name = ' '",
        "UPDATE scenario_rules SET name = E'a\\tb'",
        """UPDATE scenario_rules SET filters = '{"except_locations": [""]}'""",
        """UPDATE scenario_rules SET options = '{"outcome": "hold", "hold_reason": "call,\\nthen go"}'""",
        """UPDATE scenario_rules SET options = '{"min_package_value": "1E-7"}'""",
        "UPDATE scenarios SET priority = 2000000000",
        """UPDATE scenarios SET conditions = '{"channel": ["", "web"]}'""",
    ],
)
def test_a_scenario_that_could_be_loaded_once_is_planned_with(stored: str) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    execute(stored)
    store_orders(an_order(7, skus=("CHAIR",), channel="web"))

    plan_all()

    assert rows("SELECT state FROM orders") == [("planned",)]


def test_the_rules_of_a_scenario_that_is_switched_off_are_not_read() -> None:
    load_merchant(PLACES, {}, GREEDY)
    execute("UPDATE scenarios SET active = false")
    execute("UPDATE scenario_rules SET mode = 'one that is to come'")

    assert active_scenarios() == []
