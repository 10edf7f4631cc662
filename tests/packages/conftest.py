"""A package and a transfer to give commands to."""

import pytest

from tests.fulfilment.samples import a_scenario, load_merchant
from tests.fulfilment.steps import PLACES, plan_all
from tests.orders.samples import an_order, store_orders


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


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
