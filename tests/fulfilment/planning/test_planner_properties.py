"""What holds for every plan, whatever the scenario, the stock and the orders."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oms_workers.fulfilment.planning.planner import plan_orders
from oms_workers.fulfilment.planning.plans import Available, Location, OrderToPlan, Plan
from oms_workers.fulfilment.planning.scenarios import CRITERIA, Mode, Scenario
from tests.fulfilment.samples import a_location, a_scenario, an_order

SKUS = ("CHAIR", "LAMP", "STOOL")
CODES = ("A", "B", "C", "D")
TYPES = ("store", "warehouse")


@st.composite
def locations(draw: st.DrawFn) -> list[Location]:
    count = draw(st.integers(0, 4))
    return [
        a_location(
            number + 1,
            CODES[number],
            type=draw(st.sampled_from(TYPES)),
            active=draw(st.integers(0, 5)) > 0,
            priority=draw(st.integers(0, 2)),
            country=draw(st.sampled_from([None, "TR", "DE"])),
            latitude=draw(st.sampled_from([None, 40.0, 41.0])),
            longitude=29.0,
            quota=draw(st.sampled_from([None, None, 0, 1, 2])),
            open_packages=draw(st.integers(0, 2)),
        )
        for number in range(count)
    ]


stocks = st.dictionaries(
    st.sampled_from(SKUS), st.dictionaries(st.integers(1, 4), st.integers(-2, 6), max_size=4), max_size=3
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "locations": st.lists(st.sampled_from(CODES)),
        "except_locations": st.lists(st.sampled_from(CODES)),
        "types": st.lists(st.sampled_from(TYPES)),
        "same_country": st.booleans(),
    },
)
rankings = st.lists(st.sampled_from([sign + name for name in CRITERIA for sign in ("", "-")]), max_size=3)
outcomes = st.sampled_from(
    [{}, {}, {"outcome": "hold", "hold_reason": "why"}, {"outcome": "auto_cancel", "cancel_after_days": 1}]
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    mode = draw(st.sampled_from([mode.value for mode in Mode]))
    optional = st.fixed_dictionaries(
        {},
        optional={
            "filters": filters,
            "ranking": rankings,
            "allow_partial": st.booleans(),
            "max_packages": st.integers(1, 3),
            "min_package_value": st.integers(0, 30),
            "transferable": st.booleans() if mode == "single" else st.just(False),
            "transfer_from": filters,
        },
    )
    return {"mode": mode, **draw(optional), **draw(outcomes)}


lines = st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 4)), min_size=1, max_size=5)


addresses = st.sampled_from([{}, {"country": "TR"}, {"country": "tr", "latitude": "40", "longitude": "29"}])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[OrderToPlan], list[Scenario], list[Location], Available]:
    channels = st.sampled_from(["web", "shop"])
    orders = [
        an_order(*draw(lines), id_=number, **draw(addresses), channel=draw(channels))
        for number in range(1, draw(st.integers(1, 4)) + 1)
    ]
    scenarios = [
        a_scenario(*draw(st.lists(rules(), max_size=3)), name=str(number), conditions=draw(CONDITIONS))
        for number in range(draw(st.integers(0, 2)))
    ]
    return orders, scenarios, draw(locations()), draw(stocks)


CONDITIONS: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"channel": ["web"]}])


@given(worlds())
def test_never_more_than_is_available(world: Any) -> None:
    orders, scenarios, places, stock = world

    taken: Counter[tuple[str, int]] = Counter()
    for plan in plan_orders(orders, scenarios, places, stock):
        taken.update(plan.demand())

    for (sku, location), units in taken.items():
        assert 0 < units <= stock.get(sku, {}).get(location, 0)


@given(worlds())
def test_every_unit_of_every_line_is_in_one_place_or_left(world: Any) -> None:
    orders, *rest = world

    for order, plan in zip(orders, plan_orders(orders, *rest), strict=True):
        found: Counter[int] = Counter()
        for line in [*plan.leftovers, *(line for parcel in plan.parcels for line in parcel.everything())]:
            found[line.order_item_id] += line.quantity
            assert line.quantity > 0
        assert found == {line.order_item_id: line.quantity for line in order.lines}


@given(worlds())
def test_the_same_input_makes_the_same_plan(world: Any) -> None:
    def everything(plans: list[Plan]) -> list[Any]:
        return [(plan.parcels, plan.leftovers, plan.context) for plan in plans]

    assert everything(plan_orders(*world)) == everything(plan_orders(*world))


@given(worlds())
def test_a_rule_that_applies_nowhere_changes_nothing(world: Any) -> None:
    orders, scenarios, places, stock = world
    nowhere = a_scenario({"filters": {"locations": []}}).rules[0]
    padded = [
        scenario.model_copy(update={"rules": (nowhere, *scenario.rules, nowhere)}) for scenario in scenarios
    ]

    before = plan_orders(orders, scenarios, places, stock)
    after = plan_orders(orders, padded, places, stock)

    assert [(plan.parcels, plan.leftovers) for plan in before] == [
        (plan.parcels, plan.leftovers) for plan in after
    ]


@given(worlds())
def test_a_rule_s_limits_hold_for_what_it_made(world: Any) -> None:
    orders, scenarios, places, stock = world
    quotas = {place.id: place.quota for place in places}
    packages = Counter({place.id: place.open_packages for place in places})

    for plan in plan_orders(orders, scenarios, places, stock):
        packages.update(parcel.location_id for parcel in plan.parcels)
        assert all(parcel.lines for parcel in plan.parcels)
        assert not (plan.hold_reason and plan.parcels)
        for transfer in (transfer for parcel in plan.parcels for transfer in parcel.transfers):
            assert transfer.lines
    for location_id, count in packages.items():
        quota, before = quotas[location_id], next(p.open_packages for p in places if p.id == location_id)
        assert quota is None or count <= max(quota, before)


@given(worlds())
def test_every_location_has_a_verdict_under_every_rule_that_was_tried(world: Any) -> None:
    orders, scenarios, places, stock = world

    for plan in plan_orders(orders, scenarios, places, stock):
        for rule in plan.context["rules"]:
            assert sorted(entry["location"] for entry in rule["locations"]) == [
                place.code for place in places
            ]
            assert all(entry["verdict"] for entry in rule["locations"])
