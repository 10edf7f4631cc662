"""Which locations a rule may use: filters, quotas, exclusions."""

from dataclasses import replace
from typing import Any

import pytest

from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.planner import plan_orders
from oms_workers.fulfilment.planning.plans import LocationToPlan
from tests.fulfilment.planning.three_locations import GEBZE, plan
from tests.fulfilment.samples import a_location, a_scenario, an_order, placed, verdicts


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
