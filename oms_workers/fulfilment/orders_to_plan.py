"""Orders read for planning: their open lines, what has rejected them, and how often they were planned."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from peewee import fn

from oms_workers.fulfilment.models import OrderExecutionPlan
from oms_workers.fulfilment.planning.plans import LineToPlan, OrderToPlan, ReplacedPackage
from oms_workers.orders.models import (
    IS_RELEASED,
    PLANNED_LINE_STATUSES,
    REPLANNED_LINE_STATUSES,
    Order,
    OrderItem,
)
from oms_workers.packages.exclusions import exclusions_of
from oms_workers.packages.models import UNPLANNED_STATES, Package, PackageItem, PackageState
from oms_workers.sets import among, fetch, one_of


class ClaimedOrder(NamedTuple):
    """An order that is to be planned; `released` is whether a person has let it go with just these lines."""

    id: int
    plan_version: int
    facts: dict[str, str]
    released: bool


#: The columns of a `ClaimedOrder`.
CLAIMED_ORDER = (
    Order.id,
    Order.plan_version,
    Order.facts,
    IS_RELEASED.alias("released"),
)


class ClaimedPackage(NamedTuple):
    """A package whose lines are to be planned again; at `changed_at` it came into its state."""

    id: int
    order_id: int
    state: PackageState
    replan_attempts: int
    cancel_after: datetime | None
    changed_at: datetime

    @property
    def replaced(self) -> ReplacedPackage:
        """What the planner hands on of it."""
        return ReplacedPackage(
            self.id, self.state, self.replan_attempts, self.cancel_after, since=self.changed_at
        )


#: The columns of a `ClaimedPackage`.
CLAIMED_PACKAGE = (
    Package.id,
    Package.order,
    Package.state,
    Package.replan_attempts,
    Package.cancel_after,
    Package.changed_at,
)


class _Line(NamedTuple):
    owner: int
    order_item_id: int
    sku: str
    quantity: int
    price: Decimal | None


class _Units(NamedTuple):
    sku: str
    units: int


class _Attempts(NamedTuple):
    order_id: int
    attempts: int


class _Packages(NamedTuple):
    order_id: int
    packages: int


def read_orders(orders: Sequence[ClaimedOrder]) -> list[OrderToPlan]:
    """These orders, whole: all of their lines that Omnitron has approved."""
    ids = [order.id for order in orders]
    lines = _lines_of_orders(ids)
    before = _attempts_before(ids)
    return [
        OrderToPlan(
            order.id,
            order.plan_version,
            order.facts,
            lines.get(order.id, ()),
            *before.get(order.id, (1, 0)),
            released=order.released,
        )
        for order in orders
    ]


def read_packages(
    packages: Sequence[ClaimedPackage], orders: Mapping[int, ClaimedOrder], now: datetime
) -> list[OrderToPlan]:
    """Each package by itself, as an order with the lines that are in it."""
    ids = [package.id for package in packages]
    lines, excluded = _lines_of_packages(ids), exclusions_of(ids, now)
    before = _attempts_before([*orders])
    found = []
    for package in packages:
        attempt, packages_before = before.get(package.order_id, (1, 0))
        before[package.order_id] = (attempt + 1, packages_before)
        order = orders[package.order_id]
        found.append(
            OrderToPlan(
                order.id,
                order.plan_version,
                order.facts,
                lines.get(package.id, ()),
                attempt,
                packages_before,
                excluded.get(package.id, {}),
                package.replaced,
                order.released,
            )
        )
    return found


def demand_of_orders(order_ids: Sequence[int]) -> dict[str, int]:
    """The units by sku of the open lines of these orders."""
    query = OrderItem.select(OrderItem.sku, fn.SUM(OrderItem.quantity).cast("int").alias("units")).where(
        one_of(OrderItem.order, order_ids), one_of(OrderItem.status, PLANNED_LINE_STATUSES)
    )
    return dict(fetch(query.group_by(OrderItem.sku), _Units))


def demand_of_packages(package_ids: Sequence[int]) -> dict[str, int]:
    """The units by sku of what waits for another plan in these packages."""
    query = PackageItem.select(PackageItem.sku, fn.SUM(PackageItem.quantity).cast("int").alias("units"))
    query = query.where(one_of(PackageItem.package, package_ids), among(PackageItem.state, UNPLANNED_STATES))
    return dict(fetch(query.group_by(PackageItem.sku), _Units))


def _lines_of_orders(order_ids: Sequence[int]) -> dict[int, tuple[LineToPlan, ...]]:
    query = (
        OrderItem.select(
            OrderItem.order.alias("owner"),
            OrderItem.id.alias("order_item_id"),
            OrderItem.sku,
            OrderItem.quantity,
            OrderItem.price,
        )
        .where(one_of(OrderItem.order, order_ids), one_of(OrderItem.status, PLANNED_LINE_STATUSES))
        .order_by(OrderItem.id)
    )
    return _by_owner(fetch(query, _Line))


def _lines_of_packages(package_ids: Sequence[int]) -> dict[int, tuple[LineToPlan, ...]]:
    """The lines that are in these packages, without those that were cancelled or sent since."""
    query = (
        PackageItem.select(
            PackageItem.package.alias("owner"),
            PackageItem.order_item,
            PackageItem.sku,
            fn.SUM(PackageItem.quantity).cast("int").alias("quantity"),
            fn.MAX(OrderItem.price).alias("price"),
        )
        .join(OrderItem)
        .where(one_of(PackageItem.package, package_ids), one_of(OrderItem.status, REPLANNED_LINE_STATUSES))
        .group_by(PackageItem.package, PackageItem.order_item, PackageItem.sku)
        .order_by(PackageItem.order_item)
    )
    return _by_owner(fetch(query, _Line))


def _by_owner(found: Iterable[_Line]) -> dict[int, tuple[LineToPlan, ...]]:
    lines: dict[int, list[LineToPlan]] = {}
    for line in found:
        planned = LineToPlan(line.order_item_id, line.sku, line.quantity, line.price)
        lines.setdefault(line.owner, []).append(planned)
    return {owner: tuple(own) for owner, own in lines.items()}


def _attempts_before(order_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """For orders that were planned before: the number of this attempt, and how many packages they had."""
    plan = OrderExecutionPlan
    attempts = fetch(
        plan.select(plan.order, fn.MAX(plan.attempt).alias("attempts"))
        .where(one_of(plan.order, order_ids))
        .group_by(plan.order),
        _Attempts,
    )
    if not attempts:
        return {}
    counts = fetch(
        Package.select(Package.order, fn.COUNT(Package.id).alias("packages"))
        .where(one_of(Package.order, [each.order_id for each in attempts]))
        .group_by(Package.order),
        _Packages,
    )
    packages = dict(counts)
    return {order_id: (last + 1, packages.get(order_id, 0)) for order_id, last in attempts}
