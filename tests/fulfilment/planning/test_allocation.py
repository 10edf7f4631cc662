"""`fewest_splits` against brute force, and within its bounds."""

import random
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms_workers.fulfilment.planning import allocation
from oms_workers.fulfilment.planning.allocation import fewest_splits
from oms_workers.fulfilment.planning.plans import LineToPlan, LocationToPlan, Offer, wanted
from tests.fulfilment.samples import a_location

SKUS = ("CHAIR", "LAMP", "STOOL")


class Given(list[Offer]):
    """Offers that need not be made."""

    @property
    def locations(self) -> list[LocationToPlan]:
        return [offer.location for offer in self]


def offers_of(stocks: list[dict[str, int]]) -> Given:
    return Given(
        Offer(a_location(number, f"L{number}"), stock) for number, stock in enumerate(stocks, start=1)
    )


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


def scattered() -> tuple[list[dict[str, int]], list[LineToPlan]]:
    """Twenty skus at few places each of fifty, so that no small set has them all."""
    chance = random.Random(7)
    skus = [f"SKU-{number}" for number in range(20)]
    stocks = [{sku: int(chance.random() < 0.08) for sku in skus} for _ in range(50)]
    for sku in skus:
        chance.choice(stocks)[sku] = 1
    return stocks, [LineToPlan(number, sku, 1) for number, sku in enumerate(skus)]


@pytest.mark.parametrize("bound", ["MAX_COMBINATIONS", "MAX_COMPARISONS", "MAX_SIZE"])
def test_a_search_that_comes_to_its_bound_goes_on_greedily(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocks, lines = scattered()
    monkeypatch.setattr(allocation, bound, 5)

    parts, is_smallest = fewest_splits(offers_of(stocks), lines, most=None)

    assert not is_smallest
    assert sum(line.quantity for _, part in parts for line in part) == 20


def test_fifty_locations_and_twenty_lines_are_answered_within_the_bounds() -> None:
    stocks, lines = scattered()

    parts, _ = fewest_splits(offers_of(stocks), lines, most=None)

    assert sum(line.quantity for _, part in parts for line in part) == 20


def test_what_was_found_before_the_bound_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    stocks = [{"CHAIR": 1, "LAMP": number % 2} for number in range(40)]
    lines = [LineToPlan(1, "CHAIR", 2), LineToPlan(2, "LAMP", 2)]
    monkeypatch.setattr(allocation, "MAX_COMBINATIONS", 60)

    parts, is_smallest = fewest_splits(offers_of(stocks), lines, most=None)

    assert (is_smallest, [offer.location.code for offer, _ in parts]) == (True, ["L2", "L4"])


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

    assert len(found.parts) == 29
    assert sum(line.quantity for _, lines in found.parts for line in lines) == 3_029


def test_a_search_over_thousands_of_lines_is_bounded_in_what_it_compares() -> None:
    """Each sku takes two of forty locations, and hardly two skus the same two."""
    chance = random.Random(11)
    skus = [f"SKU-{n}" for n in range(6_000)]
    stocks: list[dict[str, int]] = [{} for _ in range(40)]
    for sku in skus:
        for place in chance.sample(range(40), 5):
            stocks[place][sku] = 1
    search = allocation._Search(offers_of(stocks), dict.fromkeys(skus, 2))

    for size in search.sizes(None):
        if search.best_of(size) is not None or search.is_spent:
            break

    assert search._comparisons <= allocation.MAX_COMPARISONS + 40
    found = fewest_splits(offers_of(stocks), [LineToPlan(n, sku, 2) for n, sku in enumerate(skus)], most=None)
    assert sum(line.quantity for _, lines in found.parts for line in lines) == 12_000
