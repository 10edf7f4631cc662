"""What a rule says about the lines that it could not place."""

from typing import Any

import pytest
from pydantic import ValidationError

from oms_workers.fulfilment.planning.planner import plan_orders
from tests.fulfilment.planning.three_locations import LOCATIONS, plan
from tests.fulfilment.samples import a_scenario, an_order, left, placed


def test_hold_places_nothing_at_all_and_gives_back_what_was_taken() -> None:
    scenario = a_scenario(
        {"filters": {"locations": ["GEBZE"]}},
        {"filters": {"locations": ["IZMIR"]}, "outcome": "hold", "hold_reason": "ask the customer"},
    )
    orders = [an_order(("CHAIR", 3), id_=1), an_order(("CHAIR", 1), id_=2)]

    held, next_one = plan_orders(orders, [scenario], LOCATIONS, {"CHAIR": {1: 1, 2: 1}})

    assert (held.hold_reason, placed(held), left(held)) == ("ask the customer", {}, [("CHAIR", 3)])
    assert placed(next_one) == {1: [("CHAIR", 1)]}


def test_hold_is_for_what_is_left_only() -> None:
    scenario = a_scenario({"outcome": "hold", "hold_reason": "ask the customer"})

    assert plan(an_order(("CHAIR", 1)), scenario, {"CHAIR": {1: 1}}).hold_reason is None


def test_auto_cancel_keeps_what_was_placed_and_ends_the_chain() -> None:
    scenario = a_scenario(
        {"filters": {"locations": ["GEBZE"]}, "outcome": "auto_cancel", "cancel_after_days": 3},
        {"filters": {"locations": ["IZMIR"]}},
    )

    made = plan(an_order(("CHAIR", 2)), scenario, {"CHAIR": {1: 1, 2: 9}})

    assert (placed(made), left(made)) == ({1: [("CHAIR", 1)]}, [("CHAIR", 1)])
    assert made.cancel_after_days == 3


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"transferable": True}, "mode single"),
        ({"outcome": "hold"}, "hold_reason"),
        ({"hold_reason": "why"}, "hold_reason"),
        ({"outcome": "auto_cancel"}, "cancel_after_days"),
        ({"max_packages": 0}, "max_packages"),
        ({"min_package_value": "-1"}, "min_package_value"),
        ({"mode": "fastest"}, "mode"),
        ({"ranking": ["luck"]}, "'luck' is no ranking"),
        ({"filters": {"same_city": True}}, "same_city"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        a_scenario(rule)
