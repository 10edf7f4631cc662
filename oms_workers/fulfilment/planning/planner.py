"""The planner: orders, scenarios, locations and stock in; packages, transfers, leftovers and the reasons out.

A pure function: no clock, no database, and the same plan for the same input. Rules run in order on the lines
that are left:

    filters ─▶ stock, exclusions, quota ─▶ ranking ─▶ mode ─▶ limits ─▶ what is left: next rule, hold, cancel

The first check that a location fails is the reason in the trace, and what a ranking compared is kept there.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from oms_workers.fulfilment.planning.allocation import best_part, fewest_splits, greedy
from oms_workers.fulfilment.planning.locations import Ranked, Sieve, Supply, Surroundings, points_of, rank
from oms_workers.fulfilment.planning.plans import (
    Available,
    LineToPlan,
    LocationToPlan,
    OrderToPlan,
    Parcel,
    Plan,
    PlannedTransfer,
    split,
    value_of,
)
from oms_workers.fulfilment.planning.scenarios import Mode, Rule, RuleOutcome, ScenarioSpec
from oms_workers.fulfilment.planning.trace import (
    EXCLUDED,
    NO_STOCK,
    NOT_ALL,
    NOT_TOGETHER,
    QUOTA_SPENT,
    Proposal,
    Verdicts,
    entry_at,
    shown_stock,
    sources_of,
    trace_of,
)

#: Why a rule that holds did not: what it could not place went on to the next rule.
RELEASED = "a person has released the order with these lines"


def plan_orders(
    orders: Sequence[OrderToPlan],
    scenarios: Sequence[ScenarioSpec],
    locations: Sequence[LocationToPlan],
    stock: Available,
) -> list[Plan]:
    """Plan each order in turn; what one takes is gone for the next. `stock` itself is not changed."""
    planner = Planner(scenarios, locations, {sku: dict(places) for sku, places in stock.items()})
    return [planner.plan(order) for order in orders]


class Planner:
    """Plans one order after the other, and takes from the stock that it was given as it goes."""

    def __init__(
        self, scenarios: Sequence[ScenarioSpec], locations: Sequence[LocationToPlan], stock: Available
    ) -> None:
        self._scenarios = scenarios
        self._stock = stock
        self._packages = {location.id: location.open_packages for location in locations}
        self._quotas = {location.id: location.quota for location in locations if location.quota is not None}
        self._points = points_of(locations)
        self._sieve = Sieve(locations)

    def has_any_of(self, order: OrderToPlan) -> bool:
        """Whether a unit of the order's lines is left anywhere that has not rejected it."""
        return any(
            units > 0 and location_id not in order.excluded.get(line.sku, ())
            for line in order.lines
            for location_id, units in self._stock.get(line.sku, {}).items()
        )

    def scarce(self, demand: Mapping[str, int]) -> set[str]:
        """The skus of which a location that has some has less than is wanted altogether."""
        return {
            sku
            for sku, wanted_units in demand.items()
            if any(0 < units < wanted_units for units in self._stock.get(sku, {}).values())
        }

    def may_fill_up(self, orders: int) -> bool:
        """Whether so many orders could use up what a location's quota still allows."""
        return any(
            self._packages[location_id] < quota <= self._packages[location_id] + orders
            for location_id, quota in self._quotas.items()
        )

    def plan(self, order: OrderToPlan) -> Plan:
        """Place the order's lines as the first scenario that matches it says.

        Where that fails with an error, the order has taken nothing from those that follow.
        """
        around = Surroundings(self._packages, self._points, order.facts)
        work = _Work(order, self._stock, around, self._quotas, self._sieve)
        try:
            return self._plan(order, work)
        except Exception:
            work.give_back()
            raise

    def _plan(self, order: OrderToPlan, work: "_Work") -> Plan:
        scenario = next((each for each in self._scenarios if each.matches(order.facts)), None)
        traces: list[dict[str, Any]] = []
        for rule in scenario.rules if scenario else ():
            if not work.open:
                break
            traces.append(work.apply(rule))
            if not work.open or rule.outcome is RuleOutcome.NEXT_RULE:
                continue
            if rule.outcome is RuleOutcome.HOLD and order.released:
                traces[-1]["passed"] = RELEASED
                continue
            work.end_with(rule)
            break
        context: dict[str, Any] = {
            "scenario": scenario.name if scenario else None,
            "rules": traces,
            "unplaced": [{"sku": line.sku, "quantity": line.quantity} for line in work.open],
        }
        if work.hold_reason is not None:
            context["hold_reason"] = work.hold_reason
        return Plan(
            order,
            [Parcel(location_id, *parts) for location_id, parts in work.parcels.items()],
            work.open,
            context,
            hold_reason=work.hold_reason,
            cancel_after_days=work.cancel_after_days,
        )


class _Work:
    """The lines of one order that are still to be placed, and where the others went."""

    def __init__(
        self,
        order: OrderToPlan,
        stock: Available,
        surroundings: Surroundings,
        quotas: Mapping[int, int],
        sieve: Sieve,
    ) -> None:
        self.open = [*order.lines]
        self.parcels: dict[int, tuple[list[LineToPlan], list[PlannedTransfer]]] = {}
        self.hold_reason: str | None = None
        self.cancel_after_days: int | None = None
        self._order = order
        self._stock = stock
        self._around = surroundings
        self._packages = surroundings.open_packages
        self._quotas = quotas
        self._sieve = sieve
        self._supply = Supply(self.open, stock, order.excluded)

    def apply(self, rule: Rule) -> dict[str, Any]:
        """Let a rule place what it can of what is left, and return its trace."""
        sieved = self._sieve.apply(rule.filters, self._order.facts)
        eligible, refused = self._eligible(sieved.passed, self._full())
        if rule.mode is Mode.SINGLE:
            eligible = self._whole(eligible, refused)
        ranked = rank(eligible, rule.ranking, self._supply, self._around)
        proposal = self._propose(rule, ranked)
        problem = self._problem(rule, proposal) if proposal.parts else None
        trace = trace_of(rule, ranked, proposal, problem, [refused, sieved.refused])
        if proposal.parts and problem is None:
            self._take(proposal)
        return trace

    def end_with(self, rule: Rule) -> None:
        """Do what the rule says about the lines that it could not place."""
        if rule.outcome is RuleOutcome.AUTO_CANCEL:
            self.cancel_after_days = rule.cancel_after_days
            return
        self.hold_reason = rule.hold_reason
        self.give_back()

    def give_back(self) -> None:
        """Undo all that was placed."""
        for location_id, (lines, transfers) in self.parcels.items():
            for place, line in Parcel(location_id, lines, transfers).demand():
                self._stock[line.sku][place] += line.quantity
            self._packages[location_id] -= 1
        self.parcels.clear()
        self.open = [*self._order.lines]

    def _full(self) -> set[int]:
        """The locations that take no other package, by id; one that has a parcel of the order takes more."""
        return {
            id_
            for id_, quota in self._quotas.items()
            if self._packages[id_] >= quota and id_ not in self.parcels
        }

    def _eligible(
        self, locations: Sequence[LocationToPlan], full: Collection[int]
    ) -> tuple[list[LocationToPlan], Verdicts]:
        """The locations that can send a unit or more of what is left, and the trace of those that cannot."""
        supply, refused = self._supply, Verdicts()
        amounts = supply.amounts
        eligible = [location for location in locations if location.id in amounts]
        if full:
            eligible = [location for location in eligible if location.id not in full]
        left = len(locations) - len(eligible)
        for location in locations if left else ():
            if location.id in amounts and location.id not in full:
                continue
            if not full and not self._order.excluded and not refused.wants(NO_STOCK):
                # Nothing else can be the reason of the others.
                break
            left -= 1
            some = location.id not in amounts and supply.has_any_at(location.id)
            verdict = QUOTA_SPENT if location.id in amounts else EXCLUDED if some else NO_STOCK
            refused.add(verdict, partial(self._refusal, location, verdict))
        refused.count(NO_STOCK, left)
        return eligible, refused

    def _whole(self, eligible: list[LocationToPlan], refused: Verdicts) -> list[LocationToPlan]:
        """Those that have everything, where there are such; no other is compared with them then."""
        whole = [location for location in eligible if location.id in self._supply.whole]
        if not whole:
            return eligible
        for location in eligible if len(whole) < len(eligible) else ():
            if location.id not in self._supply.whole:
                refused.add(NOT_ALL, partial(self._refusal, location, NOT_ALL))
        return whole

    def _refusal(self, location: LocationToPlan, verdict: str) -> dict[str, Any]:
        return {
            "location": location.code,
            **shown_stock(self._supply.at(location.id)),
            "verdict": verdict,
        }

    def _propose(self, rule: Rule, ranked: Ranked) -> Proposal:
        """What the rule's mode would place where, and what would be brought there from where."""
        if rule.mode is Mode.GREEDY:
            return Proposal(greedy(ranked, self.open, most=rule.max_packages), Mode.GREEDY)
        if rule.mode is Mode.FEWEST_SPLITS:
            found = fewest_splits(ranked, self.open, most=rule.max_packages)
            return Proposal(found.parts, Mode.FEWEST_SPLITS if found.is_smallest else Mode.GREEDY)
        if ranked.locations and ranked.locations[0].id in self._supply.whole:
            return Proposal([(ranked[0], [*self.open])], Mode.SINGLE)
        sources: Sequence[Verdicts] = ()
        if rule.transferable:
            proposal = self._bring_together(rule, ranked)
            if proposal.parts:
                return proposal
            sources = proposal.sources
        parts = best_part(ranked, self.open) if rule.may_leave_lines else []
        return Proposal(parts, Mode.SINGLE, sources=sources)

    def _bring_together(self, rule: Rule, ranked: Ranked) -> Proposal:
        """The first destination to which everything that it lacks can be brought."""
        sieved = self._sieve.apply(rule.transfer_from, self._order.facts)
        # A quota is about packages, and a source makes none.
        eligible, refused = self._eligible(sieved.passed, ())
        sources = rank(eligible, rule.ranking, self._supply, self._around)
        place = self._first_destination(ranked, {location.id for location in eligible})
        if place is None:
            traced = Verdicts()
            for number in range(len(sources)):
                traced.add(NOT_TOGETHER, partial(entry_at, sources, number, NOT_TOGETHER))
            return Proposal([], Mode.SINGLE, sources=[traced, refused, sieved.refused])
        destination = ranked[place]
        taken, missing = split(self.open, destination.stock)
        others = (offer for offer in sources if offer.location.id != destination.location.id)
        brought = greedy(others, missing, most=None)
        traced = sources_of(sources, destination, missing, brought)
        return Proposal([(destination, taken)], Mode.SINGLE, brought, [traced, refused, sieved.refused])

    def _first_destination(self, ranked: Ranked, sources: set[int]) -> int | None:
        """The place in the ranking of the first location that has everything together with all sources."""
        lacking = self._supply.lacking(sources)
        usable = self._supply.usable
        for place, location in enumerate(ranked.locations):
            if not lacking:
                return place
            # What a source has is counted already.
            if location.id not in sources and all(
                usable[sku].get(location.id, 0) >= units for sku, units in lacking.items()
            ):
                return place
        return None

    def _problem(self, rule: Rule, proposal: Proposal) -> str | None:
        """Why the rule's result must be dropped, or None."""
        left = self._left_by(proposal)
        if left and not rule.may_leave_lines:
            return "it leaves lines behind, which allow_partial does not permit"
        least = rule.min_package_value
        brought = [line for _, lines in proposal.transfers for line in lines]
        packages = [[*lines, *brought] for _, lines in proposal.parts]
        is_split = len(packages) > 1 or bool(left) or bool(self.parcels)
        if least is None or not is_split:
            return None
        for lines in [*packages, *([left] if left else [])]:
            if value_of(lines) < least:
                what = "what it leaves behind" if lines is left else "a package"
                return f"{what} is worth {value_of(lines)}, and min_package_value is {least}"
        return None

    def _left_by(self, proposal: Proposal) -> list[LineToPlan]:
        if len(proposal.parts) == 1 and proposal.parts[0][1] == self.open:
            return []
        taken: dict[int, int] = {}
        for _, lines in [*proposal.parts, *proposal.transfers]:
            for line in lines:
                taken[line.order_item_id] = taken.get(line.order_item_id, 0) + line.quantity
        return [
            line._replace(quantity=line.quantity - taken.get(line.order_item_id, 0))
            for line in self.open
            if line.quantity > taken.get(line.order_item_id, 0)
        ]

    def _take(self, proposal: Proposal) -> None:
        self.open = self._left_by(proposal)
        for offer, lines in [*proposal.parts, *proposal.transfers]:
            for line in lines:
                self._stock[line.sku][offer.location.id] -= line.quantity
        for offer, lines in proposal.parts:
            if offer.location.id not in self.parcels:
                self._packages[offer.location.id] += 1
            own, brought = self.parcels.setdefault(offer.location.id, ([], []))
            own.extend(lines)
            brought.extend(PlannedTransfer(source.location.id, moved) for source, moved in proposal.transfers)
        if self.open:
            self._supply = Supply(self.open, self._stock, self._order.excluded)
