"""What holds for every plan, whatever the scenario, the stock and the orders."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.planner import plan_orders
from oms_workers.fulfilment.planning.plans import (
    Available,
    LineToPlan,
    LocationToPlan,
    OrderToPlan,
    Plan,
    value_of,
)
from oms_workers.fulfilment.planning.scenarios import CRITERIA, Mode, ScenarioSpec
from tests.fulfilment.samples import a_location, a_scenario, an_order

SKUS = ("CHAIR", "LAMP", "STOOL")
CODES = ("A", "B", "C", "D")
TYPES = ("store", "warehouse")


@st.composite
def locations(draw: st.DrawFn) -> list[LocationToPlan]:
    count = draw(st.sampled_from([4, 3, 2, 1, 0]))
    return [
        a_location(
            number + 1,
            CODES[number],
            type=draw(st.sampled_from(TYPES)),
            active=draw(st.integers(0, 5)) < 5,
            priority=draw(st.integers(0, 2)),
            country=draw(st.sampled_from(["TR", "DE", None])),
            latitude=draw(st.sampled_from([None, 40.0, 41.0])),
            longitude=29.0,
            quota=draw(st.sampled_from([None, None, None, 0, 2, 4])),
            open_packages=draw(st.integers(0, 2)),
        )
        for number in range(count)
    ]


#: Mostly a few units, sometimes plenty, none, or fewer than none.
units = st.sampled_from([1, 2, 3, 6, 0, 0, -2])
stocks = st.fixed_dictionaries(
    {sku: st.fixed_dictionaries(dict.fromkeys(range(1, 5), units)) for sku in SKUS}
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "locations": st.lists(st.sampled_from(CODES), min_size=2),
        "except_locations": st.lists(st.sampled_from(CODES), max_size=2),
        "types": st.lists(st.sampled_from(TYPES), min_size=1),
        "same_country": st.booleans(),
    },
)
rankings = st.lists(st.sampled_from([sign + name for name in CRITERIA for sign in ("", "-")]), max_size=3)
outcomes = st.sampled_from(
    [
        {},
        {},
        {},
        {},
        {"outcome": "hold", "hold_reason": "why"},
        {"outcome": "auto_cancel", "cancel_after_days": 1},
    ]
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    mode = draw(st.sampled_from(["single", *(mode.value for mode in Mode)]))
    optional = st.fixed_dictionaries(
        {"transferable": st.sampled_from([True, True, False]) if mode == "single" else st.just(False)},
        optional={
            "filters": filters,
            "ranking": rankings,
            "allow_partial": st.booleans(),
            "max_packages": st.integers(1, 3),
            "min_package_value": st.integers(0, 9),
            "transfer_from": filters,
        },
    )
    return {"mode": mode, **draw(optional), **draw(outcomes)}


lines = st.lists(
    st.tuples(
        st.sampled_from(SKUS),
        st.integers(1, 4),
        st.sampled_from([Decimal(2), Decimal("4.50"), Decimal(9), None]),
    ),
    min_size=1,
    max_size=5,
)
addresses = st.sampled_from([{"country": "TR"}, {"country": "tr", "latitude": "40", "longitude": "29"}, {}])
exclusions = st.dictionaries(
    st.sampled_from(SKUS), st.frozensets(st.integers(1, 4), min_size=1, max_size=2), max_size=2
)


@st.composite
def orders_to_plan(draw: st.DrawFn, number: int) -> OrderToPlan:
    channel = draw(st.sampled_from(["web", "web", "shop"]))
    priced = tuple(LineToPlan(100 * number + n, *line) for n, line in enumerate(draw(lines), start=1))
    order = an_order(id_=number, **draw(addresses), channel=channel)
    return replace(order, lines=priced, excluded=draw(exclusions))


@st.composite
def worlds(
    draw: st.DrawFn, rules_each: st.SearchStrategy[list[dict[str, Any]]] | None = None
) -> tuple[list[OrderToPlan], list[ScenarioSpec], list[LocationToPlan], Available]:
    orders = [draw(orders_to_plan(number)) for number in range(1, draw(st.integers(1, 4)) + 1)]
    chains = st.lists(rules(), min_size=1, max_size=3) if rules_each is None else rules_each
    scenarios = [
        a_scenario(*draw(chains), name="web only", conditions=draw(CONDITIONS)),
        a_scenario(*draw(chains), name="the rest"),
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


def test_the_worlds_are_rich_enough_for_what_is_claimed_of_them() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=400)
    @given(worlds())
    def look(world: Any) -> None:
        for plan in plan_orders(*world):
            seen["placed"] += bool(plan.parcels)
            seen["placed whole"] += bool(plan.parcels) and not plan.leftovers
            seen["split"] += len(plan.parcels) > 1
            seen["brought"] += any(parcel.transfers for parcel in plan.parcels)
            seen["left"] += bool(plan.parcels) and bool(plan.leftovers)
            seen["held"] += plan.hold_reason is not None
            seen["dropped"] += any("dropped" in rule for rule in plan.context["rules"])
            verdicts = {entry["verdict"] for rule in plan.context["rules"] for entry in rule["locations"]}
            seen["excluded"] += trace.EXCLUDED in verdicts
            seen["no quota"] += trace.QUOTA_SPENT in verdicts

    look()

    assert min(seen.values()) >= 5, seen


@given(worlds())
def test_no_location_is_used_beyond_its_quota_or_for_what_it_has_rejected(world: Any) -> None:
    orders, scenarios, places, stock = world
    quotas = {place.id: place.quota for place in places}
    packages = Counter({place.id: place.open_packages for place in places})

    for plan in plan_orders(orders, scenarios, places, stock):
        packages.update(parcel.location_id for parcel in plan.parcels)
        assert all(parcel.lines for parcel in plan.parcels)
        assert not (plan.hold_reason and plan.parcels)
        for transfer in (transfer for parcel in plan.parcels for transfer in parcel.transfers):
            assert transfer.lines
        for sku, location_id in plan.demand():
            assert location_id not in plan.order.excluded.get(sku, ())
    for location_id, count in packages.items():
        quota, before = quotas[location_id], next(p.open_packages for p in places if p.id == location_id)
        assert quota is None or count <= max(quota, before)


@given(worlds(st.lists(rules(), min_size=1, max_size=1)))
def test_what_a_single_rule_made_keeps_to_its_limits(world: Any) -> None:
    orders, scenarios, places, stock = world

    for plan in plan_orders(orders, scenarios, places, stock):
        if not plan.parcels:
            continue
        scenario = next(each for each in scenarios if each.matches(plan.order.facts))
        (rule,) = scenario.rules
        assert rule.max_packages is None or len(plan.parcels) <= max(rule.max_packages, 1)
        assert rule.may_leave_lines or not plan.leftovers
        if rule.mode is Mode.SINGLE:
            assert len(plan.parcels) == 1
        is_split = len(plan.parcels) > 1 or bool(plan.leftovers)
        for part in [*(parcel.everything() for parcel in plan.parcels), plan.leftovers]:
            assert not is_split or not part or value_of(part) >= (rule.min_package_value or 0)
        for location_id in (parcel.location_id for parcel in plan.parcels):
            place = next(place for place in places if place.id == location_id)
            assert place.active
            assert rule.filters.locations is None or place.code in rule.filters.locations
            assert place.code not in rule.filters.except_locations
            assert rule.filters.types is None or place.type in rule.filters.types


@given(worlds())
def test_every_location_has_a_verdict_under_every_rule_that_was_tried(world: Any) -> None:
    orders, scenarios, places, stock = world

    for plan in plan_orders(orders, scenarios, places, stock):
        for rule in plan.context["rules"]:
            assert sorted(entry["location"] for entry in rule["locations"]) == [
                place.code for place in places
            ]
            assert all(entry["verdict"] for entry in rule["locations"])
