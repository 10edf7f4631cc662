"""Why each location was chosen or not, in words: what `oms explain` shows of a rule.

The first check that a location fails is its reason, and what a ranking compared is kept beside it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from oms_workers.fulfilment.planning.plans import LineToPlan, Offer, Parts, wanted
from oms_workers.fulfilment.planning.scenarios import Mode, Rule, RuleOutcome

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


class Proposal(NamedTuple):
    """What a rule would place where, what would be brought there, and by which mode it was given out.

    `sources` is the trace of the locations from which something might have been brought, where it was asked.
    """

    parts: Parts
    mode: Mode
    transfers: Parts = []  # noqa: RUF012 - never changed
    sources: Sequence[dict[str, Any]] = ()


def trace_of(
    rule: Rule,
    ranked: Sequence[Offer],
    proposal: Proposal,
    problem: str | None,
    refused: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The trace of a rule: every location with its verdict, and why the result was dropped, if it was."""
    chosen = {offer.location.id for offer, _ in proposal.parts}
    sources = {offer.location.id for offer, _ in proposal.transfers}
    last = max((n for n, offer in enumerate(ranked) if offer.location.id in chosen), default=-1)
    considered = []
    for n, offer in enumerate(ranked):
        if offer.location.id in chosen:
            verdict = DROPPED if problem else CHOSEN
        elif offer.location.id in sources:
            verdict = DROPPED if problem else SOURCE
        elif n > last:
            verdict = RANKED_BEHIND if proposal.parts else NOT_ALL
        else:
            verdict = _PASSED_OVER[proposal.mode]
        considered.append(entry(offer, verdict))
    trace: dict[str, Any] = {
        "rule": rule.name,
        "mode": rule.mode.value,
        "ranking": rule.ranking,
        "locations": [*considered, *refused],
    }
    if proposal.sources:
        trace["sources"] = [*proposal.sources]
    if proposal.transfers:
        trace["transfers"] = [
            {"from": offer.location.code, "lines": dict(wanted(lines))} for offer, lines in proposal.transfers
        ]
    if problem:
        trace["dropped"] = problem
    if rule.outcome is not RuleOutcome.NEXT_RULE:
        trace["outcome"] = rule.outcome.value
    return trace


def entry(offer: Offer, verdict: str) -> dict[str, Any]:
    """One location's line in a trace."""
    return {
        "location": offer.location.code,
        "stock": offer.stock,
        "rank": offer.values,
        "verdict": verdict,
    }


def sources_of(
    offers: Sequence[Offer], destination: Offer, missing: Sequence[LineToPlan], brought: Parts
) -> list[dict[str, Any]]:
    """The trace of the locations that were asked for what is missing at the destination."""
    chosen = {offer.location.id for offer, _ in brought}

    def verdict(offer: Offer) -> str:
        if offer.location.id in chosen:
            return SOURCE
        if offer.location.id == destination.location.id:
            return DESTINATION
        has_some = any(offer.stock.get(line.sku, 0) > 0 for line in missing)
        return RANKED_BEHIND if has_some else NOT_MISSING

    return [entry(offer, verdict(offer)) for offer in offers]
