"""The planner: orders, scenarios, locations and stock in; packages, transfers, leftovers and the reasons out.

A pure function: no clock, no database, and the same plan for the same input. Rules run in order on the lines
that are left:

    filters ─▶ stock, exclusions, quota ─▶ ranking ─▶ mode ─▶ limits ─▶ what is left: next rule, hold, cancel

The first check that a location fails is the reason in the trace, and what a ranking compared is kept there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oms_workers.fulfilment.planning.allocation import fewest_splits, greedy, single
from oms_workers.fulfilment.planning.locations import Sieve, rank
from oms_workers.fulfilment.planning.plans import (
    Available,
    LineToPlan,
    LocationToPlan,
    Offer,
    OrderToPlan,
    Parcel,
    Plan,
    PlannedTransfer,
    split,
    value_of,
    wanted,
)
from oms_workers.fulfilment.planning.scenarios import Mode, Rule, RuleOutcome, ScenarioSpec
from oms_workers.fulfilment.planning.trace import (
    EXCLUDED,
    NO_STOCK,
    NOT_TOGETHER,
    QUOTA_SPENT,
    Proposal,
    entry,
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
    planner = Planner(scenarios, locations, stock)
    return [planner.plan(order) for order in orders]


class Planner:
    """Plans one order after the other from a stock of its own, which it takes from as it goes."""

    def __init__(
        self, scenarios: Sequence[ScenarioSpec], locations: Sequence[LocationToPlan], stock: Available
    ) -> None:
        self._scenarios = scenarios
        self._stock = {sku: dict(places) for sku, places in stock.items()}
        self._packages = {location.id: location.open_packages for location in locations}
        self._quotas = {location.id: location.quota for location in locations if location.quota is not None}
        self._sieve = Sieve([*locations])

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
        work = _Work(order, self._stock, self._packages, self._sieve)
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

    def __init__(self, order: OrderToPlan, stock: Available, packages: dict[int, int], sieve: Sieve) -> None:
        self.open = [*order.lines]
        self.parcels: dict[int, tuple[list[LineToPlan], list[PlannedTransfer]]] = {}
        self.hold_reason: str | None = None
        self.cancel_after_days: int | None = None
        self._order = order
        self._stock = stock
        self._packages = packages
        self._sieve = sieve

    def apply(self, rule: Rule) -> dict[str, Any]:
        """Let a rule place what it can of what is left, and return its trace."""
        sieved = self._sieve.apply(rule.filters, self._order.facts)
        eligible, refused = self._offers(sieved.passed, self._quota_spent)
        ranked = rank(eligible, rule.ranking, self._order.facts)
        proposal = self._propose(rule, ranked)
        problem = self._problem(rule, proposal) if proposal.parts else None
        trace = trace_of(rule, ranked, proposal, problem, [*refused, *sieved.refused])
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

    def _offers(
        self, locations: list[LocationToPlan], is_full: Callable[[LocationToPlan], bool]
    ) -> tuple[list[Offer], list[dict[str, Any]]]:
        """The locations that can send a unit or more of what is left, and the trace of those that cannot."""
        needed = wanted(self.open)
        places = {line.sku: self._stock.get(line.sku, {}) for line in self.open}
        excluded = self._order.excluded
        offers, refused = [], []
        for location in locations:
            stock = {sku: units.get(location.id, 0) for sku, units in places.items()}
            usable = _without(stock, excluded, location.id) if excluded else stock
            amount = sum(min(units, needed[sku]) for sku, units in usable.items() if units > 0)
            heap = sum(units for units in usable.values() if units > 0)
            if amount and not is_full(location):
                offers.append(Offer(location, usable, amount, heap, self._packages[location.id]))
                continue
            some = any(units > 0 for units in stock.values())
            reason = QUOTA_SPENT if amount else EXCLUDED if some else NO_STOCK
            refused.append({"location": location.code, "stock": stock, "verdict": reason})
        return offers, refused

    def _quota_spent(self, location: LocationToPlan) -> bool:
        if location.quota is None or location.id in self.parcels:
            return False
        return self._packages[location.id] >= location.quota

    def _propose(self, rule: Rule, ranked: list[Offer]) -> Proposal:
        """What the rule's mode would place where, and what would be brought there from where."""
        if rule.mode is Mode.GREEDY:
            return Proposal(greedy(ranked, self.open, most=rule.max_packages), Mode.GREEDY)
        if rule.mode is Mode.FEWEST_SPLITS:
            found = fewest_splits(ranked, self.open, most=rule.max_packages)
            return Proposal(found.parts, Mode.FEWEST_SPLITS if found.is_smallest else Mode.GREEDY)
        parts = single(ranked, self.open, partial=False)
        sources: Sequence[dict[str, Any]] = ()
        if not parts and rule.transferable:
            proposal = self._bring_together(rule, ranked)
            if proposal.parts:
                return proposal
            sources = proposal.sources
        parts = parts or single(ranked, self.open, partial=rule.may_leave_lines)
        return Proposal(parts, Mode.SINGLE, sources=sources)

    def _bring_together(self, rule: Rule, ranked: list[Offer]) -> Proposal:
        """The first destination to which everything that it lacks can be brought."""
        sieved = self._sieve.apply(rule.transfer_from, self._order.facts)
        # A quota is about packages, and a source makes none.
        offers, refused = self._offers(sieved.passed, lambda _: False)
        sources = rank(offers, rule.ranking, self._order.facts)
        refused = [*refused, *sieved.refused]
        for destination in ranked:
            taken, missing = split(self.open, destination.stock)
            others = [offer for offer in sources if offer.location.id != destination.location.id]
            brought = greedy(others, missing, most=None)
            if sum(line.quantity for _, lines in brought for line in lines) == sum(
                line.quantity for line in missing
            ):
                traced = [*sources_of(sources, destination, missing, brought), *refused]
                return Proposal([(destination, taken)], Mode.SINGLE, brought, traced)
        return Proposal(
            [], Mode.SINGLE, sources=[*(entry(offer, NOT_TOGETHER) for offer in sources), *refused]
        )

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


def _without(
    stock: dict[str, int], excluded: Mapping[str, frozenset[int]], location_id: int
) -> dict[str, int]:
    return {sku: 0 if location_id in excluded.get(sku, ()) else units for sku, units in stock.items()}
