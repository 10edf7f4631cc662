"""A newcomer's walk through the code stays short."""

import pytest

from benchmarks.walk import files_of, plan, reject
from tests.fulfilment.samples import a_scenario, load_merchant
from tests.orders.samples import an_order, store_orders

#: What a newcomer can be asked to read; `python -m benchmarks.walk` lists the files.
MOST_TO_PLAN = 20
MOST_TO_REJECT = 12


@pytest.fixture
def an_order_that_waits(db: None) -> None:
    load_merchant({"GEBZE": {}}, {("CHAIR", "GEBZE"): 5}, a_scenario({"mode": "single"}))
    store_orders(an_order(7, skus=("CHAIR",)))


def test_from_the_task_to_the_packages_and_from_a_rejection_to_its_end(an_order_that_waits: None) -> None:
    planning, rejection = files_of(plan), files_of(reject)

    assert "fulfilment/commit.py" in planning
    assert len(planning) <= MOST_TO_PLAN, planning
    assert "packages/commands/rejections.py" in rejection
    assert len(rejection) <= MOST_TO_REJECT, rejection
