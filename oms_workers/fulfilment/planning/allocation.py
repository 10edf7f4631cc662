"""The modes: how the lines that are left are given to ranked offers. Nothing is taken yet, only proposed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from oms_workers.fulfilment.planning.plans import LineToPlan, Offer, Offers, Parts, split, wanted

#: How many sets of locations `fewest_splits` looks at before it goes on as `greedy`.
MAX_COMBINATIONS = 10_000

#: How often it compares what is wanted of a sku with what a set has, before it does too. It bounds the time
#: of an order with thousands of lines: some tenths of a second, without a clock, so that a plan can be
#: repeated.
MAX_COMPARISONS = 1_000_000

#: Locations of the largest set that it looks for; units that are spread wider are given out greedily.
MAX_SIZE = 100


def best_part(offers: Iterable[Offer], lines: Sequence[LineToPlan]) -> Parts:
    """What the offer can give that has most of the lines whole, and of these most units."""
    best = max(offers, key=lambda offer: _part_of(offer, lines), default=None)
    return [] if best is None else greedy([best], lines, most=1)


def _part_of(offer: Offer, lines: Sequence[LineToPlan]) -> tuple[int, int]:
    """How many of the lines the offer has whole, and how many units of them."""
    taken, left = split(lines, offer.stock)
    return len(lines) - len(left), sum(line.quantity for line in taken)


def greedy(offers: Iterable[Offer], lines: Sequence[LineToPlan], *, most: int | None) -> Parts:
    """Each offer in turn takes what it can, until nothing is left or `most` locations are used."""
    parts: Parts = []
    left: Sequence[LineToPlan] = lines
    for offer in offers:
        if any(offer.stock.get(line.sku, 0) > 0 for line in left):
            taken, left = split(left, offer.stock)
            parts.append((offer, taken))
        if not left or len(parts) == most:
            break
    return parts


class Allocation(NamedTuple):
    """What `fewest_splits` proposes, and whether it is a smallest set or was given out greedily instead."""

    parts: Parts
    is_smallest: bool


def fewest_splits(offers: Offers, lines: Sequence[LineToPlan], *, most: int | None) -> Allocation:
    """The smallest set of offers that has it all, and of those of its size the one with the best ranks.

    "All" is what the offers have together: a line that is nowhere in stock does not split the others. Ranks
    are added up; the lexicographically first of equal sums wins. After `MAX_COMBINATIONS` sets, or
    `MAX_COMPARISONS`, it is `greedy`.
    """
    every = [offers[place] for place in range(len(offers))]
    units = _reachable(every, wanted(lines))
    if not units:
        return Allocation([], is_smallest=False)
    search = _Search(every, units)
    for size in search.sizes(most):
        best = search.best_of(size)
        if best is not None:
            return Allocation(greedy([every[n] for n in best], lines, most=None), is_smallest=True)
        if search.is_spent:
            break
    return Allocation(greedy(every, lines, most=most), is_smallest=False)


def _reachable(offers: Sequence[Offer], units: dict[str, int]) -> dict[str, int]:
    """What is wanted, as far as all offers together have it."""
    together = {sku: sum(max(0, offer.stock.get(sku, 0)) for offer in offers) for sku in units}
    return {sku: min(needed, together[sku]) for sku, needed in units.items() if together[sku]}


class _TooMuchError(Exception):
    """A search has come to one of its bounds."""


class _Search:
    """The search for sets of offers that have everything, by their ranks.

    A set has to have an offer with the sku that the fewest have, so the search branches over these only, and
    again for what that offer lacks. An offer that was tried for a sku is barred from the branches after it,
    so that no set is looked at twice.

    Skus are the bits of an integer, the rarest first. One `and` says what no offer of a set has whole. Only
    of that are units added up: of an order with thousands of lines it is little.
    """

    def __init__(self, offers: Sequence[Offer], units: dict[str, int]) -> None:
        holders = {sku: [n for n, offer in enumerate(offers) if offer.stock.get(sku, 0) > 0] for sku in units}
        skus = sorted(units, key=lambda sku: len(holders[sku]))
        self._holders = [holders[sku] for sku in skus]
        self._needed = [units[sku] for sku in skus]
        self._has = [{n: offers[n].stock[sku] for n in holders[sku]} for sku in skus]
        self._everything = (1 << len(skus)) - 1
        self._whole = [0] * len(offers)
        for bit, sku in enumerate(skus):
            for n in holders[sku]:
                if offers[n].stock[sku] >= units[sku]:
                    self._whole[n] |= 1 << bit
        self._sets = self._comparisons = 0
        self._best: tuple[int, tuple[int, ...]] | None = None
        self.is_spent = False

    def sizes(self, most: int | None) -> range:
        """The sizes that a set may have: at the least what the units of each sku take, or the skus of all."""
        least = max(map(self._fewest, range(len(self._needed))))
        skus_of = [0] * len(self._whole)
        for holders in self._holders:
            for n in holders:
                skus_of[n] += 1
        least = max(least, -(-len(self._needed) // max(skus_of)))
        return range(least, min(len(self._whole), most or len(self._whole), MAX_SIZE) + 1)

    def _fewest(self, bit: int) -> int:
        """How many offers it takes to have enough of one sku."""
        left, count = self._needed[bit], 0
        for units in sorted(self._has[bit].values(), reverse=True):
            if left <= 0:
                break
            left -= units
            count += 1
        return count

    def best_of(self, size: int) -> tuple[int, ...] | None:
        """The best set of this size that was found before the search was spent, or None."""
        try:
            self._extend((), self._everything, size, 0)
        except _TooMuchError:
            self.is_spent = True
        return None if self._best is None else self._best[1]

    def _extend(self, chosen: tuple[int, ...], open_: int, size: int, barred: int) -> None:
        """Look at the sets that have these offers, which leave the skus in `open_` to be added up."""
        self._sets += 1
        if self._sets > MAX_COMBINATIONS:
            raise _TooMuchError
        bit, open_ = self._first_short(chosen, open_)
        if bit is None:
            found = (sum(chosen), tuple(sorted(chosen)))
            self._best = found if self._best is None else min(self._best, found)
            return
        if len(chosen) == size:
            return
        for n in self._holders[bit]:
            if n in chosen or barred >> n & 1:
                continue
            if self._best is not None and sum(chosen) + n > self._best[0]:
                # The ranks that follow are higher still.
                return
            self._extend((*chosen, n), open_ & ~self._whole[n], size, barred)
            barred |= 1 << n

    def _first_short(self, chosen: Sequence[int], open_: int) -> tuple[int | None, int]:
        """The rarest sku of which the chosen have too little, and what is open without those they have."""
        for bit in _bits(open_):
            self._comparisons += 1 + len(chosen)
            if self._comparisons > MAX_COMPARISONS:
                raise _TooMuchError
            has = self._has[bit]
            if sum(has.get(n, 0) for n in chosen) < self._needed[bit]:
                return bit, open_
            open_ ^= 1 << bit
        return None, open_


def _bits(number: int) -> Iterator[int]:
    """The places of the ones in a number."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
