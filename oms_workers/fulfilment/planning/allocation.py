"""The modes: how the lines that are left are given to ranked offers. Nothing is taken yet, only proposed."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from oms_workers.fulfilment.planning.plans import LineToPlan, Offer, Parts, split, wanted

#: How many sets of locations `fewest_splits` looks at before it goes on as `greedy`.
MAX_COMBINATIONS = 10_000


def single(offers: Sequence[Offer], lines: Sequence[LineToPlan], *, partial: bool) -> Parts:
    """Everything to the first offer that has it all.

    Where `partial` and none has, to the offer that has most of the lines whole, and of these most units.
    """
    units = wanted(lines)
    for offer in offers:
        if _covers([offer], units):
            return [(offer, [*lines])]
    if not partial or not offers:
        return []
    return greedy([max(offers, key=lambda offer: _part_of(offer, lines))], lines, most=1)


def _part_of(offer: Offer, lines: Sequence[LineToPlan]) -> tuple[int, int]:
    """How many of the lines the offer has whole, and how many units of them."""
    taken, left = split(lines, offer.stock)
    return len(lines) - len(left), sum(line.quantity for line in taken)


def greedy(offers: Sequence[Offer], lines: Sequence[LineToPlan], *, most: int | None) -> Parts:
    """Each offer in turn takes what it can, until nothing is left or `most` locations are used."""
    parts: Parts = []
    left: Sequence[LineToPlan] = lines
    for offer in offers:
        if not left or len(parts) == most:
            break
        taken, left = split(left, offer.stock)
        if taken:
            parts.append((offer, taken))
    return parts


class Allocation(NamedTuple):
    """What `fewest_splits` proposes, and whether it is a smallest set or was given out greedily instead."""

    parts: Parts
    is_smallest: bool


def fewest_splits(offers: Sequence[Offer], lines: Sequence[LineToPlan], *, most: int | None) -> Allocation:
    """The smallest set of offers that has it all, and of those of its size the one with the best ranks.

    "All" is what the offers have together: a line that is nowhere in stock does not split the others. Ranks
    are added up; the lexicographically first of equal sums wins. After `MAX_COMBINATIONS` it is `greedy`.
    """
    units = _reachable(offers, wanted(lines))
    coverage = _Coverage(offers, units)
    looked_at = 0
    for size in _sizes(offers, units, most):
        best: tuple[int, tuple[int, ...]] | None = None
        for ranks in combinations(range(len(offers)), size):
            looked_at += 1
            if looked_at > MAX_COMBINATIONS:
                break
            if (best is None or sum(ranks) < best[0]) and coverage.is_whole(ranks):
                best = (sum(ranks), ranks)
        if best is not None:
            return Allocation(greedy([offers[n] for n in best[1]], lines, most=None), is_smallest=True)
        if looked_at > MAX_COMBINATIONS:
            break
    return Allocation(greedy(offers, lines, most=most), is_smallest=False)


def _reachable(offers: Sequence[Offer], units: dict[str, int]) -> dict[str, int]:
    """What is wanted, as far as all offers together have it."""
    together = {sku: sum(max(0, offer.stock.get(sku, 0)) for offer in offers) for sku in units}
    return {sku: min(needed, together[sku]) for sku, needed in units.items() if together[sku]}


def _sizes(offers: Sequence[Offer], units: dict[str, int], most: int | None) -> range:
    """The sizes that a covering set may have; the least is if each offer had as many skus as the best one."""
    if not units:
        return range(0)
    most_skus = max(sum(offer.stock.get(sku, 0) > 0 for sku in units) for offer in offers)
    return range(-(-len(units) // most_skus), min(len(offers), most or len(offers)) + 1)


class _Coverage:
    """Whether a set of offers has all that is wanted.

    Skus are the bits of an integer, so that one `or` decides about most sets. Units are added up only of the
    skus that no offer of the set has whole: of an order with thousands of lines they are few.
    """

    def __init__(self, offers: Sequence[Offer], units: dict[str, int]) -> None:
        self._needed = [*units.values()]
        self._everything = (1 << len(units)) - 1
        self._has = [[max(0, offer.stock.get(sku, 0)) for sku in units] for offer in offers]
        self._whole = [
            sum(1 << n for n, needed in enumerate(self._needed) if has[n] >= needed) for has in self._has
        ]
        self._some = [sum(1 << n for n, count in enumerate(has) if count) for has in self._has]

    def is_whole(self, ranks: Sequence[int]) -> bool:
        """Whether the offers with these ranks have everything together."""
        whole = touched = 0
        for n in ranks:
            whole |= self._whole[n]
            touched |= self._some[n]
        return touched == self._everything and all(
            sum(self._has[n][sku] for n in ranks) >= self._needed[sku]
            for sku in _bits(self._everything & ~whole)
        )


def _bits(number: int) -> Iterator[int]:
    """The places of the ones in a number."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _covers(offers: Sequence[Offer], units: dict[str, int]) -> bool:
    return all(
        sum(max(0, offer.stock.get(sku, 0)) for offer in offers) >= needed for sku, needed in units.items()
    )
