"""The planner: each option of a rule at its boundaries. No database: it is a pure function."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.locations import kilometres
from oms_workers.fulfilment.planning.planner import Planner, plan_orders
from oms_workers.fulfilment.planning.plans import Available, LineToPlan, LocationToPlan, OrderToPlan, Plan
from oms_workers.fulfilment.planning.scenarios import ScenarioSpec
from tests.fulfilment.samples import a_location, a_scenario, an_order, left, placed, verdicts

GEBZE = a_location(1, "GEBZE", type="warehouse", priority=1)
IZMIR = a_location(2, "IZMIR", type="warehouse", priority=2)
KADIKOY = a_location(3, "KADIKOY", priority=3)
LOCATIONS = (GEBZE, IZMIR, KADIKOY)


def plan(
    order: OrderToPlan,
    scenario: ScenarioSpec,
    stock: Available,
    locations: tuple[LocationToPlan, ...] = LOCATIONS,
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
    filters: dict[str, Any], location: LocationToPlan, reason: str | None
) -> None:
    made = plan(an_order(("CHAIR", 1)), a_scenario({"filters": filters}), {"CHAIR": {1: 1}}, (location,))

    assert placed(made) == ({} if reason else {1: [("CHAIR", 1)]})
    assert verdicts(made) == {"GEBZE": reason or trace.CHOSEN}


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

    assert [code for code, verdict in verdicts(made).items() if verdict == trace.CHOSEN] == [first]


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


def values(plan: Plan) -> dict[str, dict[str, Any]]:
    """What the ranking compared of each location, by code."""
    return {
        entry["location"]: entry["rank"] for entry in plan.context["rules"][0]["locations"] if "rank" in entry
    }


# Fewest splits


def test_fewest_splits_prefers_one_location_however_low_it_ranks() -> None:
    scenario = a_scenario({"mode": "fewest_splits", "ranking": ["priority"]})
    stock = {"CHAIR": {1: 1, 2: 1, 3: 2}, "LAMP": {1: 1, 2: 1, 3: 1}}

    made = plan(an_order(("CHAIR", 2), ("LAMP", 1)), scenario, stock)

    assert placed(made) == {3: [("CHAIR", 2), ("LAMP", 1)]}


def test_fewest_splits_takes_the_best_ranked_pair() -> None:
    scenario = a_scenario({"mode": "fewest_splits", "ranking": ["priority"]})
    stock = {"CHAIR": {1: 1, 2: 1, 3: 1}}

    made = plan(an_order(("CHAIR", 2)), scenario, stock)

    assert placed(made) == {1: [("CHAIR", 1)], 2: [("CHAIR", 1)]}
    assert verdicts(made)["KADIKOY"] == trace.RANKED_BEHIND


def test_fewest_splits_places_nothing_that_it_cannot_place_whole_unless_told_so() -> None:
    stock = {"CHAIR": {1: 1, 2: 1}}
    order = an_order(("CHAIR", 3))

    whole = plan(order, a_scenario({"mode": "fewest_splits"}), stock)
    partial = plan(order, a_scenario({"mode": "fewest_splits", "allow_partial": True}), stock)

    assert (placed(whole), left(whole)) == ({}, [("CHAIR", 3)])
    assert "allow_partial" in whole.context["rules"][0]["dropped"]
    assert left(partial) == [("CHAIR", 1)]


# Limits


def test_single_may_be_partial() -> None:
    scenario = a_scenario({"mode": "single", "allow_partial": True, "ranking": ["-stock_amount"]})

    made = plan(an_order(("CHAIR", 5)), scenario, {"CHAIR": {1: 2, 2: 3}})

    assert (placed(made), left(made)) == ({2: [("CHAIR", 3)]}, [("CHAIR", 2)])


def test_greedy_that_must_not_be_partial_places_all_or_nothing() -> None:
    scenario = a_scenario({"mode": "greedy", "allow_partial": False})

    assert placed(plan(an_order(("CHAIR", 3)), scenario, {"CHAIR": {1: 1, 2: 1}})) == {}
    assert len(placed(plan(an_order(("CHAIR", 2)), scenario, {"CHAIR": {1: 1, 2: 1}}))) == 2


@pytest.mark.parametrize(("most", "locations"), [(1, 1), (2, 2), (3, 3), (4, 3)])
@pytest.mark.parametrize("mode", ["greedy", "fewest_splits"])
def test_max_packages_bounds_the_locations_that_a_rule_uses(most: int, locations: int, mode: str) -> None:
    scenario = a_scenario({"mode": mode, "max_packages": most, "allow_partial": True})

    made = plan(an_order(("CHAIR", 3)), scenario, {"CHAIR": {1: 1, 2: 1, 3: 1}})

    assert len(made.parcels) == locations


@pytest.mark.parametrize(
    ("least", "parcels"),
    [
        # Two chairs at 10 are one package, the third is left behind.
        ("9.99", {1: [("CHAIR", 2)]}),
        ("10", {1: [("CHAIR", 2)]}),
        # What is left behind is worth too little, though the package is not.
        ("10.01", {}),
        ("20.01", {}),
    ],
)
def test_the_minimum_value_holds_for_each_package_and_for_what_is_left(least: str, parcels: Any) -> None:
    order = priced(("CHAIR", 3, "10"))

    made = plan(order, a_scenario({"min_package_value": least}), {"CHAIR": {1: 2}})

    assert placed(made) == parcels
    assert ("dropped" in made.context["rules"][0]) is (parcels == {})


def test_the_minimum_value_drops_a_rule_whose_second_package_is_too_cheap() -> None:
    order = priced(("CHAIR", 1, "100"), ("LAMP", 1, "5"))
    scenario = a_scenario({"min_package_value": "10"}, {"filters": {"locations": ["KADIKOY"]}})

    made = plan(order, scenario, {"CHAIR": {1: 1, 3: 1}, "LAMP": {2: 1, 3: 1}})

    assert placed(made) == {3: [("CHAIR", 1), ("LAMP", 1)]}
    assert "a package is worth 5" in made.context["rules"][0]["dropped"]
    assert set(verdicts(made).values()) <= {trace.DROPPED, trace.RANKED_BEHIND}


def priced(*lines: tuple[str, int, str]) -> OrderToPlan:
    return OrderToPlan(
        1,
        0,
        {},
        tuple(LineToPlan(n, sku, units, Decimal(price)) for n, (sku, units, price) in enumerate(lines)),
    )


# Transfers


def test_what_a_location_lacks_is_brought_there() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 2), ("LAMP", 1)), scenario, {"CHAIR": {1: 2}, "LAMP": {3: 1}})

    (parcel,) = made.parcels
    assert (parcel.location_id, [line.sku for line in parcel.lines]) == (1, ["CHAIR"])
    assert [(transfer.source_id, [line.sku for line in transfer.lines]) for transfer in parcel.transfers] == [
        (3, ["LAMP"])
    ]
    assert made.demand() == {("CHAIR", 1): 2, ("LAMP", 3): 1}
    assert verdicts(made)["KADIKOY"] == trace.SOURCE
    (rule,) = made.context["rules"]
    assert rule["transfers"] == [{"from": "KADIKOY", "lines": {"LAMP": 1}}]
    assert {entry["location"]: entry["verdict"] for entry in rule["sources"]} == {
        "GEBZE": trace.DESTINATION,
        "IZMIR": trace.NO_STOCK,
        "KADIKOY": trace.SOURCE,
    }


def test_a_source_that_may_send_but_not_pack_is_shown_as_what_it_is() -> None:
    scenario = a_scenario(
        {
            "mode": "single",
            "transferable": True,
            "filters": {"locations": ["GEBZE"]},
            "transfer_from": {"except_locations": ["IZMIR"]},
        }
    )
    stock = {"CHAIR": {1: 1}, "LAMP": {2: 1, 3: 1}}

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, stock)

    (rule,) = made.context["rules"]
    assert verdicts(made)["KADIKOY"] == "is not in the rule's list"
    assert {entry["location"]: entry["verdict"] for entry in rule["sources"]} == {
        "GEBZE": trace.DESTINATION,
        "IZMIR": "is in the rule's except-list",
        "KADIKOY": trace.SOURCE,
    }


def test_where_nothing_can_be_brought_together_the_sources_say_so() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True})

    made = plan(an_order(("CHAIR", 2), ("LAMP", 3)), scenario, {"CHAIR": {1: 2}, "LAMP": {3: 1}})

    assert left(made) == [("CHAIR", 2), ("LAMP", 3)]
    (rule,) = made.context["rules"]
    assert {entry["verdict"] for entry in rule["sources"]} == {trace.NOT_TOGETHER, trace.NO_STOCK}


def test_nothing_is_brought_where_one_location_has_it_all() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, {"CHAIR": {1: 1, 3: 1}, "LAMP": {3: 1}})

    assert placed(made) == {3: [("CHAIR", 1), ("LAMP", 1)]}
    assert made.parcels[0].transfers == []


def test_the_trace_of_a_transfer_has_the_units_of_all_lines_of_a_sku() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 2), ("LAMP", 3)), scenario, {"CHAIR": {1: 1}, "LAMP": {3: 5}})

    (rule,) = made.context["rules"]
    assert rule["transfers"] == [{"from": "KADIKOY", "lines": {"LAMP": 5}}]


def test_transfers_come_only_from_where_they_may() -> None:
    rule = {"mode": "single", "transferable": True, "filters": {"locations": ["GEBZE"]}}
    order, stock = an_order(("CHAIR", 1), ("LAMP", 1)), {"CHAIR": {1: 1}, "LAMP": {3: 1}}

    refused = plan(order, a_scenario({**rule, "transfer_from": {"types": ["warehouse"]}}), stock)
    allowed = plan(order, a_scenario({**rule, "transfer_from": {"types": ["store"]}}), stock)

    assert placed(refused) == {}
    # The source need not be one of the rule's own locations.
    assert [transfer.source_id for transfer in allowed.parcels[0].transfers] == [3]


def test_without_everything_nothing_is_brought() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 2)), scenario, {"CHAIR": {1: 1}, "LAMP": {3: 1}})

    assert (placed(made), len(left(made))) == ({}, 2)


# What a rule says about the rest


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


# Addresses, quotas, exclusions


@pytest.mark.parametrize("name", ["country", "state", "district"])
@pytest.mark.parametrize(
    ("at_location", "of_order", "passes"),
    [
        ("TR", "TR", True),
        ("TR", "tr", True),
        ("TR", "DE", False),
        (None, "TR", False),
        ("TR", None, False),
        (None, None, False),
    ],
)
def test_the_same_address_is_asked_for(
    name: str, at_location: str | None, of_order: str | None, passes: bool
) -> None:
    facts = {name: of_order} if of_order else {}
    place = a_location(1, "GEBZE", **{name: at_location})
    order = an_order(("CHAIR", 1), **facts)

    made = plan(order, a_scenario({"filters": {f"same_{name}": True}}), {"CHAIR": {1: 1}}, (place,))

    assert placed(made) == ({1: [("CHAIR", 1)]} if passes else {})
    assert verdicts(made)["GEBZE"] == (trace.CHOSEN if passes else f"is not in the order's {name}")


@pytest.mark.parametrize(("open_packages", "passes"), [(1, True), (2, False), (3, False)])
def test_a_location_takes_packages_while_its_quota_lasts(open_packages: int, passes: bool) -> None:
    place = a_location(1, "GEBZE", quota=2, open_packages=open_packages)

    made = plan(an_order(("CHAIR", 1)), a_scenario({}), {"CHAIR": {1: 1}}, (place,))

    assert verdicts(made)["GEBZE"] == (trace.CHOSEN if passes else trace.QUOTA_SPENT)


def test_each_package_of_a_batch_counts_against_the_quota_and_a_package_that_grows_does_not() -> None:
    place = a_location(1, "GEBZE", quota=1)
    twice = a_scenario(
        {"mode": "greedy", "filters": {"types": ["store"]}}, {"filters": {"locations": ["GEBZE"]}}
    )
    orders = [an_order(("CHAIR", 1), ("LAMP", 1), id_=1), an_order(("CHAIR", 1), id_=2)]

    first, second = plan_orders(orders, [twice], [place], {"CHAIR": {1: 9}, "LAMP": {1: 9}})

    assert len(first.parcels) == 1
    assert verdicts(second)["GEBZE"] == trace.QUOTA_SPENT


def test_a_quota_of_none_takes_nothing_and_no_quota_takes_all() -> None:
    places = (a_location(1, "CLOSED", quota=0), a_location(2, "OPEN", open_packages=10**6))

    made = plan(an_order(("CHAIR", 1)), a_scenario({}), {"CHAIR": {1: 1, 2: 1}}, places)

    assert placed(made) == {2: [("CHAIR", 1)]}


def test_a_location_that_rejected_a_sku_is_not_asked_for_it_again() -> None:
    order = replace(an_order(("CHAIR", 1), ("LAMP", 1)), excluded={"CHAIR": frozenset({1})})

    made = plan(order, a_scenario({"ranking": ["priority"]}), {"CHAIR": {1: 9, 2: 1}, "LAMP": {1: 1}})

    assert placed(made) == {1: [("LAMP", 1)], 2: [("CHAIR", 1)]}


def test_a_location_that_rejected_all_of_it_says_so() -> None:
    order = replace(an_order(("CHAIR", 1)), excluded={"CHAIR": frozenset({1})})

    made = plan(order, a_scenario({}), {"CHAIR": {1: 9}}, (GEBZE,))

    assert verdicts(made) == {"GEBZE": trace.EXCLUDED}
    assert made.context["rules"][0]["locations"][0]["stock"] == {"CHAIR": 9}


# Rankings


def test_package_density_and_distance_rank_too() -> None:
    places = (
        a_location(1, "BUSY", open_packages=5, latitude=41.0, longitude=29.0),
        a_location(2, "IDLE", open_packages=0, latitude=39.9, longitude=32.9),
        a_location(3, "NOWHERE", open_packages=2),
    )
    order = an_order(("CHAIR", 1), latitude="41.0", longitude="29.1")
    stock = {"CHAIR": {1: 1, 2: 1, 3: 1}}

    def first(*ranking: str) -> str:
        made = plan(order, a_scenario({"ranking": ranking}), stock, places)
        return next(code for code, verdict in verdicts(made).items() if verdict == trace.CHOSEN)

    assert first("package_density") == "IDLE"
    assert first("-package_density") == "BUSY"
    assert first("distance") == "BUSY"
    assert first("-distance") == "IDLE"
    made = plan(order, a_scenario({"ranking": ["distance"]}), stock, places)
    assert values(made)["BUSY"] == {"distance": pytest.approx(8.4, abs=0.1)}
    assert values(made)["NOWHERE"] == {"distance": None}


def test_density_counts_what_was_planned_a_moment_ago() -> None:
    places = (a_location(1, "GEBZE"), a_location(2, "IZMIR", open_packages=1))
    orders = [an_order(("CHAIR", 1), id_=number) for number in range(1, 7)]

    made = plan_orders(
        orders, [a_scenario({"ranking": ["package_density"]})], places, {"CHAIR": {1: 9, 2: 9}}
    )

    assert [parcel.location_id for each in made for parcel in each.parcels] == [1, 1, 2, 1, 2, 1]


def test_a_criterion_without_values_decides_nothing() -> None:
    places = (a_location(1, "A", priority=2), a_location(2, "B", priority=1))

    made = plan(
        an_order(("CHAIR", 1)),
        a_scenario({"ranking": ["distance", "priority"]}),
        {"CHAIR": {1: 1, 2: 1}},
        places,
    )

    assert placed(made) == {2: [("CHAIR", 1)]}


def test_a_location_without_the_value_stands_behind_those_that_have_it() -> None:
    places = (a_location(1, "A"), a_location(2, "B", latitude=10.0, longitude=10.0))
    order = an_order(("CHAIR", 1), latitude="41", longitude="29")

    for ranking in ("distance", "-distance"):
        made = plan(order, a_scenario({"ranking": [ranking]}), {"CHAIR": {1: 1, 2: 1}}, places)
        assert placed(made) == {2: [("CHAIR", 1)]}


def test_kilometres_are_those_of_the_globe() -> None:
    istanbul, ankara = (41.01, 28.97), (39.93, 32.86)

    assert kilometres(istanbul, ankara) == pytest.approx(350, abs=3)
    assert kilometres(istanbul, istanbul) == 0
    assert kilometres((0, 0), (0, 180)) == pytest.approx(20015, abs=1)


@pytest.mark.parametrize(
    ("of_the_order", "of_the_location"),
    [("İzmir", "İZMİR"), ("Iğdır", "IĞDIR "), ("I\u0307zmir", "izmir"), ("ŞIRNAK", "Şırnak")],
)
def test_places_are_the_same_in_turkish_too(of_the_order: str, of_the_location: str) -> None:
    scenario = a_scenario({"filters": {"same_state": True}})
    location = a_location(1, "GEBZE", state=of_the_location)

    (plan,) = plan_orders(
        [an_order(("CHAIR", 1), state=of_the_order)], [scenario], [location], {"CHAIR": {1: 5}}
    )

    assert placed(plan) == {1: [("CHAIR", 1)]}


@pytest.mark.parametrize("country", ["TR", "tr", " Tr "])
def test_conditions_compare_as_filters_do(country: str) -> None:
    scenario = a_scenario({}, conditions={"country": ["tr"]})

    assert scenario.matches({"country": country})
    assert not scenario.matches({"country": "DE"})
    assert not scenario.matches({})


def test_a_location_that_has_the_whole_order_may_send_it_however_little_it_is_worth() -> None:
    """`min_package_value` is about splitting."""
    cheap = priced(("CHAIR", 1, "5.00"))

    made = plan(cheap, a_scenario({"mode": "single", "min_package_value": "100"}), {"CHAIR": {1: 1}})

    assert placed(made) == {1: [("CHAIR", 1)]}


def test_a_line_that_is_nowhere_in_stock_does_not_split_the_others() -> None:
    scenario = a_scenario({"mode": "fewest_splits", "ranking": ["priority"], "allow_partial": True})
    order = an_order(("CHAIR", 1), ("LAMP", 1), ("GHOST", 1))

    made = plan(order, scenario, {"CHAIR": {1: 1, 3: 1}, "LAMP": {3: 1}})

    assert placed(made) == {3: [("CHAIR", 1), ("LAMP", 1)]}
    assert left(made) == [("GHOST", 1)]


def test_in_part_a_single_location_is_the_one_with_most_of_the_lines() -> None:
    scenario = a_scenario({"mode": "single", "ranking": ["priority"], "allow_partial": True})
    order = an_order(("CHAIR", 1), ("LAMP", 1), ("CLOCK", 1))

    made = plan(order, scenario, {"CHAIR": {1: 9, 2: 1}, "LAMP": {2: 1}, "CLOCK": {3: 1}})

    assert placed(made) == {2: [("CHAIR", 1), ("LAMP", 1)]}


def test_stock_amount_is_what_the_order_can_use_and_then_the_heap() -> None:
    scenario = a_scenario({"mode": "greedy", "ranking": ["-stock_amount"]})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, {"CHAIR": {1: 999, 2: 1}, "LAMP": {2: 1}})
    assert placed(made) == {2: [("CHAIR", 1), ("LAMP", 1)]}

    made = plan(an_order(("CHAIR", 1)), scenario, {"CHAIR": {1: 3, 2: 7}})
    assert placed(made) == {2: [("CHAIR", 1)]}


def test_a_quota_does_not_keep_a_location_from_sending_a_transfer() -> None:
    places = (a_location(1, "GEBZE"), a_location(2, "IZMIR", quota=0))
    scenario = a_scenario({"mode": "single", "transferable": True})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, {"CHAIR": {1: 1}, "LAMP": {2: 1}}, places)

    (parcel,) = made.parcels
    assert parcel.location_id == 1
    assert [transfer.source_id for transfer in parcel.transfers] == [2]
