"""Why each location was chosen or not, in words: what `oms explain` shows of a rule.

The first check that a location fails is its reason, and what a ranking compared is kept beside it. A merchant
may have a thousand stores. So those that were chosen are all kept, of each other verdict the first few, and
the rest is counted.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from oms_workers.fulfilment.planning.plans import LineToPlan, LocationToPlan, Offer, Offers, Parts, wanted
from oms_workers.fulfilment.planning.scenarios import Mode, Rule, RuleOutcome

#: Locations of one verdict that are kept with what they had.
FEW = 5

#: Skus of an order that are shown of each location.
MOST_SKUS = 20

#: The verdicts on locations that passed a rule's filters.
CHOSEN = "chosen"
SOURCE = "chosen to send by transfer"
RANKED_BEHIND = "ranked behind what was chosen"
PLACED_BEFORE = "what it has was placed before"
NOT_IN_SET = "not in the smallest set that has all that is there"
NOT_ALL = "does not have all of what is left"
NO_STOCK = "has none of what is left"
EXCLUDED = "has rejected what it has of what is left"
QUOTA_SPENT = "has as many open packages as its quota allows"
DROPPED = "would have been chosen, but the rule's result was dropped"

#: The verdicts on locations as sources of a transfer.
DESTINATION = "is where the rest is to be brought"
NOT_MISSING = "has none of what is missing there"
NOT_TOGETHER = "together with the others it does not have what is missing"

#: The verdicts on locations that stood before a chosen one and were not chosen.
_PASSED_OVER = {Mode.SINGLE: NOT_ALL, Mode.FEWEST_SPLITS: NOT_IN_SET, Mode.GREEDY: PLACED_BEFORE}


class Verdicts:
    """Locations that were not chosen, with their verdicts: the first few of each, and how many there are."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}

    def wants(self, verdict: str) -> bool:
        """Whether another location with this verdict would be shown."""
        return self.counts.get(verdict, 0) < FEW

    def add(self, verdict: str, make: Callable[[], dict[str, Any]]) -> None:
        """Count a location, and show it while there are few; only then its line is made."""
        if self.wants(verdict):
            self.shown.append(make())
        self.counts[verdict] = self.counts.get(verdict, 0) + 1

    def count(self, verdict: str, locations: int) -> None:
        """Count so many locations more, of which none is shown."""
        if locations:
            self.counts[verdict] = self.counts.get(verdict, 0) + locations

    @property
    def more(self) -> dict[str, int]:
        """By verdict, how many locations are not shown."""
        return {verdict: count - FEW for verdict, count in self.counts.items() if count > FEW}


class Proposal(NamedTuple):
    """What a rule would place where, what would be brought there, and by which mode it was given out.

    `sources` is the trace of the locations from which something might have been brought, where it was asked.
    """

    parts: Parts
    mode: Mode
    transfers: Parts = []  # noqa: RUF012 - never changed
    sources: Sequence[Verdicts] = ()


def trace_of(
    rule: Rule, ranked: Offers, proposal: Proposal, problem: str | None, refused: Sequence[Verdicts]
) -> dict[str, Any]:
    """The trace of a rule: the locations with their verdicts, and why the result was dropped, if it was."""
    considered = _considered(ranked, proposal, problem)
    trace: dict[str, Any] = {"rule": rule.name, "mode": rule.mode.value, "ranking": rule.ranking}
    trace.update(table("locations", [considered, *refused]))
    if proposal.sources:
        trace.update(table("sources", proposal.sources))
    if proposal.transfers:
        trace["transfers"] = [
            {"from": offer.location.code, "lines": dict(wanted(lines))} for offer, lines in proposal.transfers
        ]
    if problem:
        trace["dropped"] = problem
    if rule.outcome is not RuleOutcome.NEXT_RULE:
        trace["outcome"] = rule.outcome.value
    return trace


def table(name: str, verdicts: Sequence[Verdicts]) -> dict[str, Any]:
    """The locations that are shown, and by verdict how many are not."""
    table: dict[str, Any] = {name: [entry for each in verdicts for entry in each.shown]}
    more: dict[str, int] = {}
    for each in verdicts:
        for verdict, count in each.more.items():
            more[verdict] = more.get(verdict, 0) + count
    if more:
        table[f"more_{name}"] = more
    return table


def _considered(ranked: Offers, proposal: Proposal, problem: str | None) -> Verdicts:
    """The locations that passed all checks, in the order of their rank."""
    chosen = {offer.location.id for offer, _ in proposal.parts}
    used = chosen | {offer.location.id for offer, _ in proposal.transfers}
    before = _PASSED_OVER[proposal.mode]
    behind = RANKED_BEHIND if proposal.parts else NOT_ALL
    verdicts, left = Verdicts(), len(chosen)
    for place, location in enumerate(ranked.locations):
        if not used and not left and not verdicts.wants(behind):
            verdicts.count(behind, len(ranked) - place)
            break
        if location.id in used:
            verdict = DROPPED if problem else CHOSEN if location.id in chosen else SOURCE
            verdicts.shown.append(entry(ranked[place], verdict))
            used.discard(location.id)
            left -= location.id in chosen
            continue
        verdict = before if left else behind
        verdicts.add(verdict, partial(entry_at, ranked, place, verdict))
    return verdicts


def entry(offer: Offer, verdict: str) -> dict[str, Any]:
    """One location's line in a trace."""
    return {
        "location": offer.location.code,
        **shown_stock(offer.stock),
        "rank": offer.values,
        "verdict": verdict,
    }


def entry_at(ranked: Offers, place: int, verdict: str) -> dict[str, Any]:
    """The line of the location at this place of a ranking."""
    return entry(ranked[place], verdict)


def refusal(location: LocationToPlan, reason: str) -> dict[str, Any]:
    """The line of a location that is not asked what it has."""
    return {"location": location.code, "verdict": reason}


def shown_stock(stock: dict[str, int]) -> dict[str, Any]:
    """What a location's line shows of its stock: of a large order not every sku."""
    if len(stock) <= MOST_SKUS:
        return {"stock": stock}
    first = dict(list(stock.items())[:MOST_SKUS])
    return {"stock": first, "more_skus": len(stock) - MOST_SKUS}


def sources_of(
    offers: Iterable[Offer], destination: Offer, missing: Sequence[LineToPlan], brought: Parts
) -> Verdicts:
    """The trace of the locations that were asked for what is missing at the destination."""
    chosen = {offer.location.id for offer, _ in brought}
    verdicts = Verdicts()
    for offer in offers:
        if offer.location.id in chosen:
            verdicts.shown.append(entry(offer, SOURCE))
        elif offer.location.id == destination.location.id:
            verdicts.shown.append(entry(offer, DESTINATION))
        else:
            has_some = any(offer.stock.get(line.sku, 0) > 0 for line in missing)
            verdict = RANKED_BEHIND if has_some else NOT_MISSING
            verdicts.add(verdict, partial(entry, offer, verdict))
    return verdicts
