"""The planner: orders, scenarios, locations and stock in; packages, leftovers and the reasons out.

A pure function: no clock, no database, and the same plan for the same input. Rules run in order on the lines
that are left. A location is eligible when it passes the rule's filters and has at least one unit of what is
left; the first check that it fails is the recorded reason. Rankings are compared one after the other, and the
first that does not tie decides, since nobody can predict a weighted sum; at last the location's id decides.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from oms_workers.fulfilment.scenarios import Mode, Rule, Scenario

#: The verdicts on locations that passed a rule's filters.
CHOSEN = "chosen"
RANKED_BEHIND = "ranked behind: everything was placed before"
PLACED_BEFORE = "what it has was placed before"
NOT_ALL = "does not have all of what is left"
NO_STOCK = "has none of what is left"


#: Units that may be taken, by sku and location's id.
Available = dict[str, dict[int, int]]


class Line(NamedTuple):
    """Units of a sku that an order's line asks for."""

    order_item_id: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class OrderToPlan:
    """What the planner knows of an order. `plan_version` is the fence: the plan is for this version only."""

    id: int
    plan_version: int
    facts: dict[str, str]
    lines: tuple[Line, ...]
    attempt: int = 1
    packages_before: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """What the planner knows of a location."""

    id: int
    code: str
    type: str
    active: bool
    priority: int


class Parcel(NamedTuple):
    """Lines, or parts of them, that one location is to send."""

    location_id: int
    lines: list[Line]


@dataclass(slots=True)
class Plan:
    """What is to become of an order, and why."""

    order: OrderToPlan
    parcels: list[Parcel]
    leftovers: list[Line]
    context: dict[str, Any]

    def demand(self) -> dict[tuple[str, int], int]:
        """Units to reserve, summed per sku and location over all lines."""
        wanted: defaultdict[tuple[str, int], int] = defaultdict(int)
        for parcel in self.parcels:
            for line in parcel.lines:
                wanted[line.sku, parcel.location_id] += line.quantity
        return wanted


def plan_orders(
    orders: Sequence[OrderToPlan],
    scenarios: Sequence[Scenario],
    locations: Sequence[Location],
    stock: Available,
) -> list[Plan]:
    """Plan each order in turn; what one takes is gone for the next. `stock` itself is not changed."""
    planner = Planner(scenarios, locations, stock)
    return [planner.plan(order) for order in orders]


class Planner:
    """Plans one order after the other from a stock of its own, which it takes from as it goes."""

    def __init__(
        self, scenarios: Sequence[Scenario], locations: Sequence[Location], stock: Available
    ) -> None:
        self._scenarios = scenarios
        self._locations = locations
        self._stock = {sku: dict(places) for sku, places in stock.items()}
        self._sieves: dict[int, _Sieve] = {}

    def plan(self, order: OrderToPlan) -> Plan:
        """Place the order's lines as the first scenario that matches it says."""
        scenario = next((each for each in self._scenarios if each.matches(order.facts)), None)
        work = _Work(self._stock, list(order.lines))
        rules = scenario.rules if scenario else ()
        traces = [self._apply(rule, work) for rule in rules if work.open]
        context = {
            "scenario": scenario.name if scenario else None,
            "rules": traces,
            "unplaced": [{"sku": line.sku, "quantity": line.quantity} for line in work.open],
        }
        return Plan(order, [Parcel(*parcel) for parcel in work.parcels.items()], work.open, context)

    def _apply(self, rule: Rule, work: "_Work") -> dict[str, Any]:
        """Let a rule place what it can of what is left, and return its trace."""
        sieve = self._sieve(rule)
        eligible, empty = work.offers(sieve.passed)
        ranked = _rank(eligible, rule.ranking)
        verdicts = work.fill_single(ranked) if rule.mode is Mode.SINGLE else work.fill_greedily(ranked)
        considered = [
            {"location": offer.location.code, "stock": offer.stock, "verdict": verdict}
            for offer, verdict in zip(ranked, verdicts, strict=True)
        ]
        return {
            "rule": rule.name,
            "mode": rule.mode.value,
            "ranking": rule.ranking,
            "locations": [*considered, *empty, *sieve.refused],
        }

    def _sieve(self, rule: Rule) -> "_Sieve":
        """The rule's filters applied to all locations, once for the whole batch."""
        key = id(rule)
        if key not in self._sieves:
            checked = [(location, _refusal(rule, location)) for location in self._locations]
            self._sieves[key] = _Sieve(
                passed=[location for location, reason in checked if reason is None],
                refused=[
                    {"location": location.code, "verdict": reason} for location, reason in checked if reason
                ],
            )
        return self._sieves[key]


class _Sieve(NamedTuple):
    passed: list[Location]
    refused: list[dict[str, Any]]


class _Offer(NamedTuple):
    """What a location has of the skus that are left."""

    location: Location
    stock: dict[str, int]
    amount: int


class _Work:
    """The lines of one order that are still to be placed, and where the others went."""

    def __init__(self, stock: Available, lines: list[Line]) -> None:
        self.open = lines
        self.parcels: dict[int, list[Line]] = {}
        self._stock = stock

    def offers(self, locations: list[Location]) -> tuple[list[_Offer], list[dict[str, Any]]]:
        """The locations that have a unit or more of what is left, and the trace of those without."""
        places = {line.sku: self._stock.get(line.sku, {}) for line in self.open}
        offers, empty = [], []
        for location in locations:
            stock = {sku: units.get(location.id, 0) for sku, units in places.items()}
            amount = sum(units for units in stock.values() if units > 0)
            if amount:
                offers.append(_Offer(location, stock, amount))
            else:
                empty.append({"location": location.code, "stock": stock, "verdict": NO_STOCK})
        return offers, empty

    def fill_single(self, ranked: list[_Offer]) -> list[str]:
        """Give everything to the first location that has it all; return a verdict for each location."""
        wanted: defaultdict[str, int] = defaultdict(int)
        for line in self.open:
            wanted[line.sku] += line.quantity
        verdicts: list[str] = []
        for offer in ranked:
            if not self.open:
                verdicts.append(RANKED_BEHIND)
            elif all(offer.stock[sku] >= units for sku, units in wanted.items()):
                self._give(offer.location)
                verdicts.append(CHOSEN)
            else:
                verdicts.append(NOT_ALL)
        return verdicts

    def fill_greedily(self, ranked: list[_Offer]) -> list[str]:
        """Let each location in turn take what it can; return a verdict for each."""
        verdicts: list[str] = []
        for offer in ranked:
            if not self.open:
                verdicts.append(RANKED_BEHIND)
            else:
                verdicts.append(CHOSEN if self._give(offer.location) else PLACED_BEFORE)
        return verdicts

    def _give(self, location: Location) -> bool:
        """Move what the location has of the open lines, in units, into its parcel; False if nothing."""
        taken, left = [], []
        for line in self.open:
            places = self._stock.get(line.sku, {})
            units = min(line.quantity, max(0, places.get(location.id, 0)))
            if units:
                places[location.id] -= units
                taken.append(line._replace(quantity=units))
            if units < line.quantity:
                left.append(line._replace(quantity=line.quantity - units))
        self.open = left
        if taken:
            self.parcels.setdefault(location.id, []).extend(taken)
        return bool(taken)


def _refusal(rule: Rule, location: Location) -> str | None:
    """The first of the rule's filters that the location fails, in words, or None."""
    filters = rule.filters
    if not location.active:
        return "is not active"
    if filters.locations is not None and location.code not in filters.locations:
        return "is not in the rule's list"
    if location.code in filters.except_locations:
        return "is in the rule's except-list"
    if filters.types is not None and location.type not in filters.types:
        return f"has the type {location.type}, which the rule does not use"
    return None


#: What each criterion of a ranking compares.
RANKINGS: dict[str, Callable[[_Offer], int]] = {
    "priority": lambda offer: offer.location.priority,
    "stock_amount": lambda offer: offer.amount,
}


def _rank(offers: list[_Offer], ranking: Sequence[str]) -> list[_Offer]:
    """The offers, the first choice first. Sorting keeps ties as they are, hence the last criterion first."""
    ranked = sorted(offers, key=lambda offer: offer.location.id)
    for criterion in reversed(ranking):
        value = RANKINGS[criterion.removeprefix("-")]
        ranked.sort(key=value, reverse=criterion.startswith("-"))
    return ranked
