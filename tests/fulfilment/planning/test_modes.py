"""The modes of a rule, and the limits of what it may use, at their boundaries."""

from decimal import Decimal
from typing import Any

import pytest

from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.plans import LineToPlan, OrderToPlan
from tests.fulfilment.planning.three_locations import plan
from tests.fulfilment.samples import a_scenario, an_order, left, placed, verdicts


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
