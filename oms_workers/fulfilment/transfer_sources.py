"""Which locations send what a transfer brings when its source cannot: who could, and who is asked first.

The package's own location comes first, where it has the items by now. Then comes the best ranked location
that has all of it, then several together. A location that was tried is asked again when an exclusion would
have ended too. Where no location is left that a rule allows, the sources are spent.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from peewee import Value, fn

from oms_workers.fulfilment.models import OrderExecutionPlan
from oms_workers.fulfilment.planner_input import PlannedLocations
from oms_workers.fulfilment.planning.allocation import greedy
from oms_workers.fulfilment.planning.locations import Ranked, Supply, Surroundings, points_of, rank
from oms_workers.fulfilment.planning.plans import Available, LineToPlan, LocationToPlan, Parts
from oms_workers.fulfilment.planning.scenarios import Rule, ScenarioSpec
from oms_workers.fulfilment.planning.trace import (
    RANKED_BEHIND,
    SOURCE,
    Verdicts,
    entry,
    entry_at,
    refusal,
    table,
)
from oms_workers.orders.models import Order
from oms_workers.packages.models import (
    ExcludedLocation,
    Package,
    PackageItem,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.reservations.stock import available
from oms_workers.sets import among, fetch, one_of

#: The verdicts on locations that pass the rule's filters.
HAS_IT_NOW = "is where it is needed, and has it by now"
BARRED = "was tried or has rejected it a short time ago"
NOT_ALL_OF_IT = "does not have all of it"

#: The rules of a plan that asked for its transfers.
_ASKED = "$.rules[*] ? (exists(@.transfers) && !exists(@.dropped)).rule"


class Waiting(NamedTuple):
    """A transfer that needs another source, its package's destination, and what its plan was made by.

    At `changed_at` its last source has failed.
    """

    id: int
    number: str
    destination_id: int
    changed_at: datetime
    facts: dict[str, str]
    scenario: str | None
    asked: list[str]


class Choice(NamedTuple):
    """Which locations send which lines, and the context that says why.

    A line's `order_item_id` is the id of the package's item.
    """

    parts: Sequence[tuple[int, Sequence[LineToPlan]]]
    context: dict[str, Any]


class Outlook(Enum):
    """What is to be expected of a transfer that nobody can send now."""

    LATER = "a location that may send it may get it"
    SPENT = "no location is left that may send it"


class _Line(NamedTuple):
    transfer_id: int
    package_item_id: int
    sku: str
    quantity: int


class _Barred(NamedTuple):
    transfer_id: int
    location_id: int


class Sources:
    """The locations and scenarios of one moment, with which many transfers are looked at.

    `exclusion` is for how long a location is not asked again for what it could not send.
    """

    def __init__(
        self,
        locations: PlannedLocations,
        scenarios: Sequence[ScenarioSpec],
        now: datetime,
        exclusion: timedelta,
    ) -> None:
        self._locations = locations
        self._points = points_of(locations.by_id.values())
        self._scenarios = scenarios
        self._now = now
        self._exclusion = exclusion

    def look(self, transfer_ids: Sequence[int]) -> dict[int, Choice | Outlook]:
        """What can be done about these transfers now, by id."""
        lines, barred = _lines_of(transfer_ids), self._barred(transfer_ids)
        stock = available({line.sku for own in lines.values() for line in own})
        return {
            each.id: self._judge(each, lines[each.id], barred.get(each.id, frozenset()), stock)
            for each in _waiting(transfer_ids)
        }

    def _judge(
        self, transfer: Waiting, lines: Sequence[LineToPlan], barred: AbstractSet[int], stock: Available
    ) -> Choice | Outlook:
        scenario, rule = self._rule_of(transfer)
        sieved = self._locations.sieve.apply(rule.transfer_from, transfer.facts) if rule else None
        passed = [each for each in (sieved.passed if sieved else ()) if each.id != transfer.destination_id]
        allowed = [location for location in passed if location.id not in barred]
        supply = Supply(lines, stock, {})
        able = [location for location in allowed if location.id in supply.amounts]
        around = Surroundings(self._locations.open_packages, self._points, transfer.facts)
        ranked = rank(able, rule.ranking if rule else (), supply, around)
        home = None if transfer.destination_id in barred else self._locations.by_id[transfer.destination_id]
        parts = _parts(lines, supply, ranked, home)
        if parts is None:
            is_old = transfer.changed_at <= self._now - self._exclusion
            return Outlook.LATER if allowed and not is_old else Outlook.SPENT
        trace: dict[str, Any] = {
            "rule": rule.name if rule else "no rule asks for it any more",
            "mode": rule.mode.value if rule else "single",
            "ranking": rule.ranking if rule else (),
            **table(
                "locations",
                [
                    _traced(parts, ranked, supply, home),
                    _unable([*passed, *([home] if home else [])], barred, [*able, *_locations_of(parts)]),
                    *([sieved.refused] if sieved else []),
                ],
            ),
        }
        context = {"scenario": scenario, "rules": [trace], "unplaced": [], "transfer": transfer.number}
        return Choice([(offer.location.id, own) for offer, own in parts], context)

    def _rule_of(self, transfer: Waiting) -> tuple[str | None, Rule | None]:
        """The rule that asked for the transfer, as it is now, or else the one that would ask for one now."""
        for scenario in self._scenarios:
            for rule in scenario.rules if scenario.name == transfer.scenario else ():
                if rule.name in transfer.asked:
                    return scenario.name, rule
        for scenario in self._scenarios:
            if scenario.matches(transfer.facts):
                return scenario.name, next((rule for rule in scenario.rules if rule.transferable), None)
        return None, None

    def _barred(self, transfer_ids: Sequence[int]) -> dict[int, set[int]]:
        """By transfer, the locations that are not asked now, since they could not send its items."""
        barred: dict[int, set[int]] = {}
        for transfer_id, location_id in [
            *fetch(_tried(transfer_ids, self._now - self._exclusion), _Barred),
            *fetch(_excluded(transfer_ids, self._now), _Barred),
        ]:
            barred.setdefault(transfer_id, set()).add(location_id)
        return barred


def _parts(
    lines: Sequence[LineToPlan], supply: Supply, ranked: Ranked, home: LocationToPlan | None
) -> Parts | None:
    """Who sends what: the destination itself, one location, or several that have it together; or None."""
    at_home = [] if home is None or home.id not in supply.amounts else [supply.offer(home, {})]
    if home is not None and home.id in supply.whole:
        return [(at_home[0], [*lines])]
    for place, location in enumerate(ranked.locations):
        if location.id in supply.whole:
            return [(ranked[place], [*lines])]
    if supply.lacking([*(offer.location.id for offer in at_home), *(each.id for each in ranked.locations)]):
        return None
    return greedy([*at_home, *ranked], lines, most=None)


def _traced(parts: Parts, ranked: Ranked, supply: Supply, home: LocationToPlan | None) -> Verdicts:
    chosen = {offer.location.id for offer, _ in parts}
    verdicts = Verdicts()
    if home is not None and home.id in chosen:
        verdicts.shown.append(entry(supply.offer(home, {}), HAS_IT_NOW))
    for place, location in enumerate(ranked.locations):
        if location.id in chosen:
            verdicts.shown.append(entry(ranked[place], SOURCE))
        else:
            verdicts.add(RANKED_BEHIND, partial(entry_at, ranked, place, RANKED_BEHIND))
    return verdicts


def _unable(
    passed: Sequence[LocationToPlan], barred: AbstractSet[int], able: Sequence[LocationToPlan]
) -> Verdicts:
    """The locations that the rule allows and that have nothing of it, or are not asked again yet."""
    asked, verdicts = {location.id for location in able}, Verdicts()
    for location in passed:
        if location.id not in asked:
            verdict = BARRED if location.id in barred else NOT_ALL_OF_IT
            verdicts.add(verdict, partial(refusal, location, verdict))
    return verdicts


def _locations_of(parts: Parts) -> list[LocationToPlan]:
    return [offer.location for offer, _ in parts]


def _waiting(transfer_ids: Sequence[int]) -> list[Waiting]:
    transfer, plan = TransferOrder, OrderExecutionPlan
    query = (
        transfer.select(
            transfer.id,
            transfer.number,
            transfer.destination,
            transfer.changed_at,
            Order.facts,
            fn.jsonb_extract_path_text(plan.context, "scenario").alias("scenario"),
            fn.jsonb_path_query_array(plan.context, Value(_ASKED).cast("jsonpath")).alias("asked"),
        )
        .join(Package)
        .join_from(Package, Order)
        .join_from(Package, plan, on=plan.id == Package.plan_id)
        .where(one_of(transfer.id, transfer_ids))
        .order_by(transfer.id)
    )
    return fetch(query, Waiting)


def _lines_of(transfer_ids: Sequence[int]) -> dict[int, list[LineToPlan]]:
    item = TransferItem
    query = item.select(item.transfer, item.package_item, item.sku, item.quantity)
    lines: dict[int, list[LineToPlan]] = {}
    for line in fetch(query.where(one_of(item.transfer, transfer_ids)).order_by(item.id), _Line):
        planned = LineToPlan(line.package_item_id, line.sku, line.quantity)
        lines.setdefault(line.transfer_id, []).append(planned)
    return lines


def _tried(transfer_ids: Sequence[int], since: datetime) -> Any:
    """The locations that were a source of the transfer's items and have failed since then."""
    own, tried_item, tried = (
        TransferItem.alias("own"),
        TransferItem.alias("tried_item"),
        TransferOrder.alias("tried"),
    )
    return (
        own.select(own.transfer, tried.source.alias("location_id"))
        .join(tried_item, on=tried_item.package_item == own.package_item)
        .join(tried, on=tried.id == tried_item.transfer)
        .where(
            one_of(own.transfer, transfer_ids),
            among(tried.state, [TransferState.OUT_OF_STOCK, TransferState.CANCELLED]),
            tried.changed_at > since,
        )
        .distinct()
    )


def _excluded(transfer_ids: Sequence[int], now: datetime) -> Any:
    """The locations that have rejected one of the transfer's lines."""
    own, item, excluded = (
        TransferItem.alias("own"),
        PackageItem.alias("item"),
        ExcludedLocation.alias("excluded"),
    )
    return (
        own.select(own.transfer, excluded.location)
        .join(item, on=item.id == own.package_item)
        .join(excluded, on=excluded.order_item == item.order_item)
        .where(one_of(own.transfer, transfer_ids), excluded.until > now)
        .distinct()
    )
