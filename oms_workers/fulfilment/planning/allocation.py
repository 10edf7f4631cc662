"""The modes: how the lines that are left are given to ranked offers. Nothing is taken yet, only proposed."""

from collections.abc import Sequence
from itertools import combinations

from oms_workers.fulfilment.planning.plans import Line, Offer, Parts, split, wanted

#: How many sets of locations `fewest_splits` looks at before it goes on as `greedy`.
MAX_COMBINATIONS = 10_000


def single(offers: Sequence[Offer], lines: Sequence[Line], *, partial: bool) -> Parts:
    """Everything to the first offer that has it all, or, where `partial`, what the first one has."""
    units = wanted(lines)
    for offer in offers:
        if _covers([offer], units):
            return [(offer, [*lines])]
    return greedy(offers[:1], lines, most=1) if partial else []


def greedy(offers: Sequence[Offer], lines: Sequence[Line], *, most: int | None) -> Parts:
    """Each offer in turn takes what it can, until nothing is left or `most` locations are used."""
    parts: Parts = []
    left: Sequence[Line] = lines
    for offer in offers:
        if not left or len(parts) == most:
            break
        taken, left = split(left, offer.stock)
        if taken:
            parts.append((offer, taken))
    return parts


def fewest_splits(offers: Sequence[Offer], lines: Sequence[Line], *, most: int | None) -> Parts:
    """The smallest set of offers that has it all, and of those of its size the one with the best ranks.

    Ranks are added up; the lexicographically first of equal sums wins. After `MAX_COMBINATIONS`, or where
    not even all of them together have it, it is `greedy`.
    """
    units = wanted(lines)
    if not _covers(offers, units):
        return greedy(offers, lines, most=most)
    looked_at = 0
    for size in range(1, min(len(offers), most or len(offers)) + 1):
        best: tuple[int, tuple[int, ...]] | None = None
        for ranks in combinations(range(len(offers)), size):
            looked_at += 1
            if looked_at > MAX_COMBINATIONS:
                return _chosen(offers, best[1], lines) if best else greedy(offers, lines, most=most)
            if (best is None or sum(ranks) < best[0]) and _covers([offers[n] for n in ranks], units):
                best = (sum(ranks), ranks)
        if best is not None:
            return _chosen(offers, best[1], lines)
    return greedy(offers, lines, most=most)


def _chosen(offers: Sequence[Offer], ranks: Sequence[int], lines: Sequence[Line]) -> Parts:
    return greedy([offers[n] for n in ranks], lines, most=None)


def _covers(offers: Sequence[Offer], units: dict[str, int]) -> bool:
    return all(
        sum(max(0, offer.stock.get(sku, 0)) for offer in offers) >= needed for sku, needed in units.items()
    )
