"""Planning an order, or its packages that wait, as the tasks would now, and writing nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from oms_workers.database import database_now
from oms_workers.fulfilment.orders_to_plan import (
    CLAIMED_ORDER,
    CLAIMED_PACKAGE,
    ClaimedOrder,
    ClaimedPackage,
    read_orders,
    read_packages,
)
from oms_workers.fulfilment.planner_input import read_planner_input
from oms_workers.fulfilment.planning.plans import LineToPlan, OrderToPlan, Plan
from oms_workers.orders.models import Order
from oms_workers.orders.naming import is_called
from oms_workers.packages.models import UNPLANNED_STATES, Package
from oms_workers.reservations.models import Location
from oms_workers.sets import among, fetch


class _OrderRow(NamedTuple):
    number: str
    id: int
    plan_version: int
    facts: dict[str, str]
    released: bool


class _Number(NamedTuple):
    id: int
    number: str


class _LocationRow(NamedTuple):
    id: int
    code: str


def plan_without_committing(name: str) -> list[dict[str, Any]]:
    """What would become of the order with this number or Omnitron key; nothing where there is none.

    An order that has packages waiting for another plan is asked about these, any other one about all of its
    lines, as if nothing of it had been planned.
    """
    query = Order.select(Order.number, *CLAIMED_ORDER)
    planned = []
    for order in fetch(query.where(is_called(name)).order_by(Order.id), _OrderRow):
        parts = _parts_of(order)
        # One planner for all of them: what one package takes is gone for the next.
        skus = {line.sku for _, part in parts for line in part.lines}
        planner = read_planner_input(skus).planner
        planned += [_show(of, planner.plan(part)) for of, part in parts]
    return planned


def _parts_of(order: _OrderRow) -> list[tuple[str, OrderToPlan]]:
    claimed = ClaimedOrder(*order[1:])
    waiting = (Package.order == order.id, among(Package.state, UNPLANNED_STATES))
    packages = fetch(Package.select(*CLAIMED_PACKAGE).where(*waiting).order_by(Package.id), ClaimedPackage)
    if not packages:
        return [(f"order {order.number}", part) for part in read_orders([claimed])]
    numbers = dict(fetch(Package.select(Package.id, Package.number).where(*waiting), _Number))
    found = read_packages(packages, {order.id: claimed}, database_now())
    return [(f"package {numbers[package.id]}", part) for package, part in zip(packages, found, strict=True)]


def _show(of: str, plan: Plan) -> dict[str, Any]:
    codes = dict(fetch(Location.select(Location.id, Location.code), _LocationRow))
    return {
        "of": of,
        "context": plan.context,
        "packages": [
            {
                "location": codes[parcel.location_id],
                "items": _items(parcel.lines),
                "transfers": [
                    {"source": codes[transfer.source_id], "items": _items(transfer.lines)}
                    for transfer in parcel.transfers
                ],
            }
            for parcel in plan.parcels
        ],
        "leftovers": _items(plan.leftovers),
        "hold_reason": plan.hold_reason,
    }


def _items(lines: Sequence[LineToPlan]) -> list[dict[str, Any]]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
