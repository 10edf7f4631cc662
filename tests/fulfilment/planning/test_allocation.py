"""`fewest_splits` against brute force, and within its cap."""

import random
from collections.abc import Iterator
from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from oms_workers.fulfilment.planning import allocation
from oms_workers.fulfilment.planning.allocation import MAX_COMBINATIONS, fewest_splits
from oms_workers.fulfilment.planning.plans import LineToPlan, Offer, wanted
from tests.fulfilment.samples import a_location

SKUS = ("CHAIR", "LAMP", "STOOL")


def offers_of(stocks: list[dict[str, int]]) -> list[Offer]:
    return [
        Offer(a_location(number, f"L{number}"), stock, sum(stock.values()), sum(stock.values()))
        for number, stock in enumerate(stocks, start=1)
    ]


stocks = st.lists(st.fixed_dictionaries({sku: st.integers(0, 4) for sku in SKUS}), min_size=1, max_size=7)
lines = st.lists(
    st.builds(lambda sku, units: LineToPlan(0, sku, units), st.sampled_from(SKUS), st.integers(1, 5)),
    min_size=1,
    max_size=4,
).map(lambda found: [line._replace(order_item_id=number) for number, line in enumerate(found)])


@given(stocks, lines)
def test_fewest_splits_is_what_brute_force_finds(
    stocks: list[dict[str, int]], lines: list[LineToPlan]
) -> None:
    offers = offers_of(stocks)

    parts, is_smallest = fewest_splits(offers, lines, most=None)

    there = {sku: min(units, sum(stock[sku] for stock in stocks)) for sku, units in wanted(lines).items()}
    there = {sku: units for sku, units in there.items() if units}
    chosen = tuple(sorted(offers.index(offer) for offer, _ in parts))
    assert is_smallest == bool(there)
    assert chosen == (brute_force(offers, there) if there else ())
    # All that there is of what is wanted is given out, and no more.
    assert wanted(list(chain.from_iterable(part for _, part in parts))) == there


def brute_force(offers: list[Offer], units: dict[str, int]) -> tuple[int, ...] | None:
    """Of all sets of locations the smallest that covers, then the best sum of ranks, then the first."""
    covering = [
        chosen
        for size in range(1, len(offers) + 1)
        for chosen in combinations(range(len(offers)), size)
        if all(sum(offers[n].stock[sku] for n in chosen) >= count for sku, count in units.items())
    ]
    return min(covering, key=lambda chosen: (len(chosen), sum(chosen), chosen), default=None)


def test_fifty_locations_and_twenty_lines_are_answered_within_the_cap(monkeypatch) -> None:
    chance = random.Random(7)
    skus = [f"SKU-{number}" for number in range(20)]
    # Each sku lies at few places, so that no small set has them all.
    stocks = [{sku: int(chance.random() < 0.08) for sku in skus} for _ in range(50)]
    for sku in skus:
        chance.choice(stocks)[sku] = 1
    lines = [LineToPlan(number, sku, 1) for number, sku in enumerate(skus)]
    looked_at = 0

    def count(*arguments) -> Iterator[tuple[int, ...]]:
        nonlocal looked_at
        for ranks in combinations(*arguments):
            looked_at += 1
            yield ranks

    monkeypatch.setattr(allocation, "combinations", count)

    parts, is_smallest = fewest_splits(offers_of(stocks), lines, most=None)

    assert not is_smallest
    assert looked_at == MAX_COMBINATIONS + 1
    assert sum(line.quantity for _, part in parts for line in part) == 20


def test_a_bound_on_the_packages_bounds_the_sets() -> None:
    offers = offers_of([{"CHAIR": 1}, {"CHAIR": 1}, {"CHAIR": 1}])

    parts, _ = fewest_splits(offers, [LineToPlan(1, "CHAIR", 3)], most=2)

    assert len(parts) == 2


def test_a_large_order_is_not_compared_line_by_line_with_every_set() -> None:
    """One line is spread over 29 locations; the others are whole in each, and decide nothing."""
    small = {f"SKU-{n}": 5 for n in range(3_000)}
    offers = offers_of([{**small, "SCREW": 1} for _ in range(30)])
    ordered = [LineToPlan(n, sku, 1) for n, sku in enumerate(small, start=1)]

    found = fewest_splits(offers, [*ordered, LineToPlan(9_999, "SCREW", 29)], most=None)

    assert not found.is_smallest
    assert len(found.parts) == 29
    assert sum(line.quantity for _, lines in found.parts for line in lines) == 3_029
