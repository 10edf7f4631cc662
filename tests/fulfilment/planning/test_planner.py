"""The planner: scenarios, chains of rules, and the trace. No database: it is a pure function."""

from typing import Any

import pytest

from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.planner import Planner, plan_orders
from tests.fulfilment.planning.three_locations import LOCATIONS, plan
from tests.fulfilment.samples import a_scenario, an_order, left, placed, verdicts


def test_a_rule_works_on_what_the_rules_before_it_left() -> None:
    scenario = a_scenario(
        {"mode": "single", "filters": {"types": ["warehouse"]}},
        {"mode": "greedy", "filters": {"locations": ["KADIKOY"]}},
    )

    made = plan(an_order(("CHAIR", 2)), scenario, {"CHAIR": {1: 1, 3: 5}})

    assert placed(made) == {3: [("CHAIR", 2)]}
    assert len(made.context["rules"]) == 2


def test_rules_after_the_last_line_is_placed_are_not_tried() -> None:
    made = plan(an_order(("CHAIR", 1)), a_scenario({}, {}), {"CHAIR": {1: 1}})

    assert len(made.context["rules"]) == 1


def test_what_two_rules_give_one_location_is_one_parcel() -> None:
    scenario = a_scenario({"filters": {"types": ["warehouse"]}}, {"filters": {"locations": ["GEBZE"]}})
    order = an_order(("CHAIR", 1), ("LAMP", 1))

    made = plan(order, scenario, {"CHAIR": {1: 1}, "LAMP": {1: 1}})

    assert len(made.parcels) == 1


def test_the_first_scenario_that_matches_is_used_and_no_other() -> None:
    web = a_scenario(
        {"filters": {"locations": ["IZMIR"]}}, name="web", conditions={"channel": ["web", "app"]}
    )
    rest = a_scenario({"filters": {"locations": ["GEBZE"]}}, name="rest")
    stock = {"CHAIR": {1: 9, 2: 9}}

    def where(**facts: str) -> dict[int, Any]:
        (made,) = plan_orders([an_order(("CHAIR", 1), **facts)], [web, rest], LOCATIONS, stock)
        return placed(made)

    assert where(channel="web") == where(channel="app") == {2: [("CHAIR", 1)]}
    assert where(channel="shop") == where() == {1: [("CHAIR", 1)]}


def test_every_condition_has_to_match() -> None:
    scenario = a_scenario({}, conditions={"channel": ["web"], "segment": ["gold"]})

    def matched(**facts: str) -> bool:
        (made,) = plan_orders([an_order(("CHAIR", 1), **facts)], [scenario], LOCATIONS, {"CHAIR": {1: 1}})
        return made.context["scenario"] is not None

    assert matched(channel="web", segment="gold")
    assert not matched(channel="web")
    assert not matched(channel="web", segment="silver")


def test_without_a_scenario_that_matches_everything_is_left() -> None:
    (made,) = plan_orders([an_order(("CHAIR", 1))], [], LOCATIONS, {"CHAIR": {1: 1}})

    assert left(made) == [("CHAIR", 1)]
    assert made.context["scenario"] is None


def test_what_one_order_takes_is_gone_for_the_next() -> None:
    stock = {"CHAIR": {1: 3}}
    orders = [an_order(("CHAIR", 2), id_=1), an_order(("CHAIR", 2), id_=2)]

    first, second = plan_orders(orders, [a_scenario({})], LOCATIONS, stock)

    assert placed(first) == {1: [("CHAIR", 2)]}
    assert (placed(second), left(second)) == ({1: [("CHAIR", 1)]}, [("CHAIR", 1)])
    assert stock == {"CHAIR": {1: 3}}


def test_an_order_that_cannot_be_planned_takes_nothing_from_the_next() -> None:
    scenario = a_scenario({"ranking": ["priority"]}, {"ranking": ["distance"]})
    planner = Planner([scenario], LOCATIONS, {"CHAIR": {1: 1}, "LAMP": {1: 1}})

    with pytest.raises(ValueError, match="nowhere"):
        planner.plan(an_order(("CHAIR", 2), ("LAMP", 2), latitude="nowhere", longitude="29"))

    assert placed(planner.plan(an_order(("CHAIR", 1)))) == {1: [("CHAIR", 1)]}


def test_the_trace_tells_what_each_location_had_and_why_it_was_not_chosen() -> None:
    scenario = a_scenario({"mode": "single", "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 2)), scenario, {"CHAIR": {1: 1, 2: 5, 3: 5}})

    assert verdicts(made) == {
        "GEBZE": trace.NOT_ALL,
        "IZMIR": trace.CHOSEN,
        "KADIKOY": trace.RANKED_BEHIND,
    }
    stocks = {entry["location"]: entry["stock"] for entry in made.context["rules"][0]["locations"]}
    assert stocks == {"GEBZE": {"CHAIR": 1}, "IZMIR": {"CHAIR": 5}, "KADIKOY": {"CHAIR": 5}}


def test_the_trace_names_what_no_rule_could_place() -> None:
    made = plan(an_order(("CHAIR", 2)), a_scenario({}), {"CHAIR": {1: 0}})

    assert made.context["unplaced"] == [{"sku": "CHAIR", "quantity": 2}]
    assert verdicts(made)["GEBZE"] == trace.NO_STOCK


def test_demand_is_summed_per_sku_and_location() -> None:
    made = plan(
        an_order(("CHAIR", 2), ("CHAIR", 3), ("LAMP", 1)), a_scenario({}), {"CHAIR": {1: 9}, "LAMP": {1: 1}}
    )

    assert made.demand() == {("CHAIR", 1): 5, ("LAMP", 1): 1}


@pytest.mark.parametrize("country", ["TR", "tr", " Tr "])
def test_conditions_compare_as_filters_do(country: str) -> None:
    scenario = a_scenario({}, conditions={"country": ["tr"]})

    assert scenario.matches({"country": country})
    assert not scenario.matches({"country": "DE"})
    assert not scenario.matches({})
