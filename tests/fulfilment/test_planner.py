"""The planner: each option of a rule at its boundaries. No database: it is a pure function."""

from typing import Any

import pytest

from oms_workers.fulfilment import planner
from oms_workers.fulfilment.planner import plan_orders
from oms_workers.fulfilment.plans import Available, Location, OrderToPlan, Plan
from oms_workers.fulfilment.scenarios import Scenario
from tests.fulfilment.samples import a_location, a_scenario, an_order, left, placed, verdicts

GEBZE = a_location(1, "GEBZE", type="warehouse", priority=1)
IZMIR = a_location(2, "IZMIR", type="warehouse", priority=2)
KADIKOY = a_location(3, "KADIKOY", priority=3)
LOCATIONS = (GEBZE, IZMIR, KADIKOY)


def plan(
    order: OrderToPlan,
    scenario: Scenario,
    stock: Available,
    locations: tuple[Location, ...] = LOCATIONS,
) -> Plan:
    (made,) = plan_orders([order], [scenario], locations, stock)
    return made


@pytest.mark.parametrize(
    ("units", "parcels", "leftovers"),
    [
        (4, {1: [("CHAIR", 4)]}, [("CHAIR", 1)]),
        (5, {1: [("CHAIR", 5)]}, []),
        (6, {1: [("CHAIR", 5)]}, []),
        (0, {}, [("CHAIR", 5)]),
        (-3, {}, [("CHAIR", 5)]),
    ],
)
def test_greedy_takes_what_there_is(units: int, parcels: Any, leftovers: Any) -> None:
    made = plan(an_order(("CHAIR", 5)), a_scenario({"mode": "greedy"}), {"CHAIR": {1: units}})

    assert (placed(made), left(made)) == (parcels, leftovers)


@pytest.mark.parametrize(("units", "parcels"), [(4, {}), (5, {1: [("CHAIR", 5)]}), (6, {1: [("CHAIR", 5)]})])
def test_single_takes_all_or_nothing(units: int, parcels: Any) -> None:
    made = plan(an_order(("CHAIR", 5)), a_scenario({"mode": "single"}), {"CHAIR": {1: units}})

    assert placed(made) == parcels


def test_single_sums_the_lines_of_one_sku_before_it_compares() -> None:
    scenario = a_scenario({"mode": "single"})

    short = plan(an_order(("CHAIR", 2), ("CHAIR", 2)), scenario, {"CHAIR": {1: 3}})
    enough = plan(an_order(("CHAIR", 2), ("CHAIR", 2)), scenario, {"CHAIR": {1: 4}})

    assert placed(short) == {}
    assert placed(enough) == {1: [("CHAIR", 2), ("CHAIR", 2)]}


def test_greedy_splits_over_locations_in_rank_order() -> None:
    scenario = a_scenario({"mode": "greedy", "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 5), ("LAMP", 1)), scenario, {"CHAIR": {1: 2, 3: 9}, "LAMP": {2: 1}})

    assert placed(made) == {1: [("CHAIR", 2)], 2: [("LAMP", 1)], 3: [("CHAIR", 3)]}
    assert left(made) == []


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


@pytest.mark.parametrize(
    ("filters", "location", "reason"),
    [
        ({"locations": ["IZMIR"]}, GEBZE, "is not in the rule's list"),
        ({"locations": ["GEBZE"]}, GEBZE, None),
        ({"locations": []}, GEBZE, "is not in the rule's list"),
        ({"except_locations": ["GEBZE"]}, GEBZE, "is in the rule's except-list"),
        ({"except_locations": ["IZMIR"]}, GEBZE, None),
        ({"types": ["store"]}, GEBZE, "has the type warehouse, which the rule does not use"),
        ({"types": ["warehouse"]}, GEBZE, None),
        ({}, a_location(1, "GEBZE", active=False), "is not active"),
    ],
)
def test_a_location_that_a_filter_refuses_gets_nothing_and_its_reason(
    filters: dict[str, Any], location: Location, reason: str | None
) -> None:
    made = plan(an_order(("CHAIR", 1)), a_scenario({"filters": filters}), {"CHAIR": {1: 1}}, (location,))

    assert placed(made) == ({} if reason else {1: [("CHAIR", 1)]})
    assert verdicts(made) == {"GEBZE": reason or planner.CHOSEN}


@pytest.mark.parametrize(
    ("ranking", "first"),
    [
        (["priority"], "GEBZE"),
        (["-priority"], "KADIKOY"),
        (["stock_amount"], "IZMIR"),
        (["-stock_amount"], "KADIKOY"),
        # The first criterion that does not tie decides; at last the location's id.
        ([], "GEBZE"),
    ],
)
def test_rankings_decide_who_is_asked_first(ranking: list[str], first: str) -> None:
    stock = {"CHAIR": {1: 5, 2: 4, 3: 6}}

    made = plan(an_order(("CHAIR", 1)), a_scenario({"ranking": ranking}), stock)

    assert [code for code, verdict in verdicts(made).items() if verdict == planner.CHOSEN] == [first]


def test_ties_are_carried_to_the_next_criterion() -> None:
    twins = (a_location(1, "A", priority=7), a_location(2, "B", priority=7), a_location(3, "C", priority=9))
    scenario = a_scenario({"ranking": ["priority", "-stock_amount"]})

    made = plan(an_order(("CHAIR", 1)), scenario, {"CHAIR": {1: 5, 2: 6, 3: 99}}, twins)

    assert placed(made) == {2: [("CHAIR", 1)]}


def test_stock_amount_counts_only_what_is_left_to_place() -> None:
    scenario = a_scenario({"ranking": ["-stock_amount"], "mode": "single"})

    made = plan(an_order(("CHAIR", 1)), scenario, {"CHAIR": {1: 3, 2: 2}, "LAMP": {2: 1_000}})

    assert placed(made) == {1: [("CHAIR", 1)]}


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


def test_the_trace_tells_what_each_location_had_and_why_it_was_not_chosen() -> None:
    scenario = a_scenario({"mode": "single", "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 2)), scenario, {"CHAIR": {1: 1, 2: 5, 3: 5}})

    assert verdicts(made) == {
        "GEBZE": planner.NOT_ALL,
        "IZMIR": planner.CHOSEN,
        "KADIKOY": planner.RANKED_BEHIND,
    }
    stocks = {entry["location"]: entry["stock"] for entry in made.context["rules"][0]["locations"]}
    assert stocks == {"GEBZE": {"CHAIR": 1}, "IZMIR": {"CHAIR": 5}, "KADIKOY": {"CHAIR": 5}}


def test_the_trace_names_what_no_rule_could_place() -> None:
    made = plan(an_order(("CHAIR", 2)), a_scenario({}), {"CHAIR": {1: 0}})

    assert made.context["unplaced"] == [{"sku": "CHAIR", "quantity": 2}]
    assert verdicts(made)["GEBZE"] == planner.NO_STOCK


def test_demand_is_summed_per_sku_and_location() -> None:
    made = plan(
        an_order(("CHAIR", 2), ("CHAIR", 3), ("LAMP", 1)), a_scenario({}), {"CHAIR": {1: 9}, "LAMP": {1: 1}}
    )

    assert made.demand() == {("CHAIR", 1): 5, ("LAMP", 1): 1}
