"""Which location is asked first."""

from typing import Any

import pytest

from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.locations import kilometres, point
from oms_workers.fulfilment.planning.planner import plan_orders
from oms_workers.fulfilment.planning.plans import Plan
from tests.fulfilment.planning.three_locations import plan
from tests.fulfilment.samples import a_location, a_scenario, an_order, placed, verdicts


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


def values(plan: Plan) -> dict[str, dict[str, Any]]:
    """What the ranking compared of each location, by code."""
    return {
        entry["location"]: entry["rank"] for entry in plan.context["rules"][0]["locations"] if "rank" in entry
    }


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
    istanbul, ankara = point(41.01, 28.97), point(39.93, 32.86)
    origin, antipode = point(0, 0), point(0, 180)
    assert istanbul and ankara and origin and antipode

    assert kilometres(istanbul, ankara) == pytest.approx(350, abs=3)
    assert kilometres(istanbul, istanbul) == 0
    assert kilometres(origin, antipode) == pytest.approx(20015, abs=1)


def test_stock_amount_is_what_the_order_can_use_and_then_the_heap() -> None:
    scenario = a_scenario({"mode": "greedy", "ranking": ["-stock_amount"]})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, {"CHAIR": {1: 999, 2: 1}, "LAMP": {2: 1}})
    assert placed(made) == {2: [("CHAIR", 1), ("LAMP", 1)]}

    made = plan(an_order(("CHAIR", 1)), scenario, {"CHAIR": {1: 3, 2: 7}})
    assert placed(made) == {2: [("CHAIR", 1)]}
