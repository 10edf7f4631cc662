"""Which location sends what a transfer brings when its source cannot: who could, and who is asked first."""

from typing import Any, NamedTuple

from peewee import Value, fn

from oms_workers.fulfilment.models import OrderExecutionPlan
from oms_workers.fulfilment.planner_input import sieve_locations
from oms_workers.fulfilment.planning.locations import rank
from oms_workers.fulfilment.planning.plans import LocationToPlan, Offer
from oms_workers.fulfilment.planning.scenarios import Rule
from oms_workers.fulfilment.planning.trace import RANKED_BEHIND, SOURCE, entry
from oms_workers.fulfilment.scenarios import active_scenarios
from oms_workers.orders.models import Order
from oms_workers.packages.holdings import demand_of
from oms_workers.packages.locked import LockedTransfer
from oms_workers.packages.models import ExcludedLocation, PackageItem, TransferItem, TransferOrder
from oms_workers.reservations.models import Location, Stock
from oms_workers.sets import column, fetch, fetch_one, one_of

#: The verdict on locations that pass the rule's filters and still cannot send it.
NO_SOURCE = "was tried before, has rejected it, or does not have all of it"

#: Where the rule that asked for the transfer is gone: any location, by its priority.
ANY = Rule(name="any location", ranking=("priority",))

_AVAILABLE = Stock.on_hand - Stock.reserved - Stock.safety


class Choice(NamedTuple):
    """The location that is to send a transfer, and the context that says why it was chosen."""

    location_id: int
    context: dict[str, Any]


class _Level(NamedTuple):
    location_id: int
    sku: str
    units: int


class _PlanRow(NamedTuple):
    context: dict[str, Any]
    facts: dict[str, str]


def sources_of(transfer_id: Any, destination_id: Any) -> Any:
    """The query for the locations that could send a transfer, whose id and destination are columns or values.

    They are active, not its destination, were never tried for its items, have not rejected them, and have
    all of them.
    """
    needed = (
        TransferItem.select(TransferItem.sku, fn.SUM(TransferItem.quantity).alias("units"))
        .where(TransferItem.transfer == transfer_id)
        .group_by(TransferItem.sku)
        .alias("needed")
    )
    kinds = TransferItem.select(fn.COUNT(TransferItem.sku.distinct()))
    # It starts from what is available, by the index stock_available, since of most that waits nothing is.
    return (
        Stock.select(Stock.location)
        .join(
            needed,
            on=(Stock.sku == needed.c.sku)
            & (Stock.on_hand > Stock.reserved + Stock.safety)
            & (needed.c.units <= _AVAILABLE),
        )
        .join_from(Stock, Location, on=(Location.id == Stock.location) & Location.active)
        .where(
            Stock.location != destination_id,
            ~fn.EXISTS(_tried(transfer_id)),
            ~fn.EXISTS(_excluded(transfer_id)),
        )
        .group_by(Stock.location)
        .having(fn.COUNT(Stock.sku) == kinds.where(TransferItem.transfer == transfer_id))
    )


def _tried(transfer_id: Any) -> Any:
    """Whether the location of the stock row was a source of these items before."""
    own, tried_item = TransferItem.alias("own"), TransferItem.alias("tried_item")
    tried = TransferOrder.alias("tried")
    return (
        own.select(Value(1))
        .join(tried_item, on=tried_item.package_item == own.package_item)
        .join(tried, on=tried.id == tried_item.transfer)
        .where(own.transfer == transfer_id, tried.source == Stock.location)
    )


def _excluded(transfer_id: Any) -> Any:
    """Whether the location of the stock row has rejected one of these lines."""
    own, item = TransferItem.alias("own"), PackageItem.alias("item")
    excluded = ExcludedLocation.alias("excluded")
    return (
        own.select(Value(1))
        .join(item, on=item.id == own.package_item)
        .join(excluded, on=excluded.order_item == item.order_item)
        .where(own.transfer == transfer_id, excluded.location == Stock.location, excluded.until > fn.now())
    )


def choose_source(transfer: LockedTransfer) -> Choice | None:
    """The best of the locations that could send it, by the ranking of the rule that asked for it."""
    stock = _stock_of_sources(transfer)
    scenario, rule, facts = _rule_of(transfer.package.plan_id)
    sieved = sieve_locations(rule.transfer_from, facts)
    offers = [
        _offer(location, stock[location.id], transfer) for location in sieved.passed if location.id in stock
    ]
    if not offers:
        return None
    first, *others = rank(offers, rule.ranking, facts)
    unable = [
        {"location": location.code, "verdict": NO_SOURCE}
        for location in sieved.passed
        if location.id not in stock
    ]
    trace = {
        "rule": rule.name,
        "mode": rule.mode.value,
        "ranking": rule.ranking,
        "locations": [
            entry(first, SOURCE),
            *(entry(offer, RANKED_BEHIND) for offer in others),
            *unable,
            *sieved.refused,
        ],
    }
    context = {"scenario": scenario, "rules": [trace], "unplaced": [], "transfer": transfer.number}
    return Choice(first.location.id, context)


def _offer(location: LocationToPlan, stock: dict[str, int], transfer: LockedTransfer) -> Offer:
    needed = demand_of(transfer, location.id)
    amount = sum(min(units, needed[sku, location.id]) for sku, units in stock.items())
    return Offer(location, stock, amount, sum(stock.values()), location.open_packages)


def _stock_of_sources(transfer: LockedTransfer) -> dict[int, dict[str, int]]:
    """By location that could send it, what is available there of what it brings."""
    sources = column(sources_of(transfer.id, transfer.destination_id))
    skus = TransferItem.select(TransferItem.sku).where(TransferItem.transfer == transfer.id)
    query = Stock.select(Stock.location, Stock.sku, _AVAILABLE.alias("units"))
    found: dict[int, dict[str, int]] = {}
    for level in fetch(query.where(one_of(Stock.location, sources), Stock.sku.in_(skus)), _Level):
        found.setdefault(level.location_id, {})[level.sku] = level.units
    return found


def _rule_of(plan_id: int) -> tuple[str | None, Rule, dict[str, str]]:
    """The scenario and rule that asked for a plan's transfers, as they are now, and the order's facts."""
    query = OrderExecutionPlan.select(OrderExecutionPlan.context, Order.facts).join(Order)
    plan = fetch_one(query.where(OrderExecutionPlan.id == plan_id), _PlanRow)
    assert plan is not None, "a package's plan is never deleted"
    asked = {rule["rule"] for rule in plan.context["rules"] if "transfers" in rule and "dropped" not in rule}
    for scenario in active_scenarios():
        for rule in scenario.rules if scenario.name == plan.context["scenario"] else ():
            if rule.name in asked:
                return scenario.name, rule, plan.facts
    return None, ANY, plan.facts
