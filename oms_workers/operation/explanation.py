"""What is known about an order's way: its lines, each attempt's trace, its packages and their transfers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import JOIN, fn

from oms_workers.audit_events.door import Subject, name_of
from oms_workers.audit_events.latest import NO_NEWS
from oms_workers.audit_events.models import AuditTrail
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.orders.models import Order, OrderItem, OrderState, RejectedOrder
from oms_workers.orders.naming import is_called
from oms_workers.orders.states import ORDER
from oms_workers.packages.models import Package, PackageItem, PackageState, TransferOrder, TransferState
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.reservations.models import Location
from oms_workers.sets import columns_of, fetch, one_of


class _OrderRow(NamedTuple):
    id: int
    omnitron_id: int
    number: str
    state: OrderState
    status: str
    plan_version: int
    next_plan_at: datetime
    line_changes: Any


class _LineRow(NamedTuple):
    id: int
    sku: str
    quantity: int
    status: str


class _PlanRow(NamedTuple):
    attempt: int
    state: PlanState
    created_at: datetime
    context: dict[str, Any]
    package: str | None


class _PackageRow(NamedTuple):
    id: int
    number: str
    location: str
    state: PackageState
    version: int
    replan_attempts: int


class _ItemRow(NamedTuple):
    package_id: int
    sku: str
    quantity: int


class _TransferRow(NamedTuple):
    id: int
    number: str
    package: str
    source: str
    destination: str
    state: TransferState


class _Newest(NamedTuple):
    id: int


class _EventRow(NamedTuple):
    object_id: int
    id: int
    at: datetime
    actor: str
    action: str
    content: dict[str, Any]


class _RejectedRow(NamedTuple):
    omnitron_id: str
    reason: str
    first_seen_at: datetime
    last_seen_at: datetime
    payload: str


def explain_orders(name: str) -> list[dict[str, Any]]:
    """The orders with this number or Omnitron key, rejected ones included; usually one, or none."""
    columns = columns_of(Order, _OrderRow)
    found = fetch(Order.select(*columns).where(is_called(name)).order_by(Order.id), _OrderRow)
    return [_explain(order) for order in found] + _rejected(name)


def _explain(order: _OrderRow) -> dict[str, Any]:
    plans, packages, transfers = _plans_of(order.id), _packages_of(order.id), _transfers_of(order.id)
    package_ids = [package.id for package in packages]
    package_events, items = _last_events(PACKAGE, package_ids), _items_of(package_ids)
    transfer_events = _last_events(TRANSFER, [transfer.id for transfer in transfers])
    return {
        **order._asdict(),
        "last_event": _last_events(ORDER, [order.id]).get(order.id),
        "lines": [line._asdict() for line in _lines_of(order.id)],
        "plans": [plan._asdict() for plan in plans],
        # They are numbered, and those that placed nothing are kept only while they are new.
        "attempts_not_kept": max(0, max((plan.attempt for plan in plans), default=0) - len(plans)),
        "packages": [
            {
                **package._asdict(),
                "state": name_of(package.state),
                "items": items.get(package.id, []),
                "last_event": package_events.get(package.id),
            }
            for package in packages
        ],
        "transfers": [
            {
                **transfer._asdict(),
                "state": name_of(transfer.state),
                "last_event": transfer_events.get(transfer.id),
            }
            for transfer in transfers
        ],
    }


def _last_events(subject: Subject, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By object, what happened to it last that says something of its state, with the reason."""
    if not ids:
        return {}
    event = AuditTrail
    # By the indexes audit_events_object and archived_audit_events_object.
    newest = event.select(fn.MAX(event.id).alias("id")).where(
        event.object_type == subject.name, one_of(event.object_id, ids), event.action.not_in(NO_NEWS)
    )
    last = fetch(newest.group_by(event.object_id), _Newest)
    columns = columns_of(event, _EventRow)
    found = fetch(event.select(*columns).where(one_of(event.id, [each.id for each in last])), _EventRow)
    return {
        each.object_id: {name: getattr(each, name) for name in ("at", "actor", "action", "content")}
        for each in found
    }


def _lines_of(order_id: int) -> list[_LineRow]:
    query = OrderItem.select(OrderItem.id, OrderItem.sku, OrderItem.quantity, OrderItem.status)
    return fetch(query.where(OrderItem.order == order_id).order_by(OrderItem.id), _LineRow)


def _plans_of(order_id: int) -> list[_PlanRow]:
    plan = OrderExecutionPlan
    query = (
        plan.select(plan.attempt, plan.state, plan.created_at, plan.context, Package.number.alias("package"))
        .join(Package, JOIN.LEFT_OUTER, on=Package.id == plan.package_id)
        .where(plan.order == order_id)
        .order_by(plan.attempt)
    )
    return fetch(query, _PlanRow)


def _packages_of(order_id: int) -> list[_PackageRow]:
    query = (
        Package.select(
            Package.id,
            Package.number,
            Location.code.alias("location"),
            Package.state,
            Package.version,
            Package.replan_attempts,
        )
        .join(Location)
        .where(Package.order == order_id)
        .order_by(Package.id)
    )
    return fetch(query, _PackageRow)


def _items_of(package_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    query = PackageItem.select(*columns_of(PackageItem, _ItemRow))
    query = query.where(one_of(PackageItem.package, package_ids)).order_by(PackageItem.id)
    items: dict[int, list[dict[str, Any]]] = {}
    for item in fetch(query, _ItemRow):
        items.setdefault(item.package_id, []).append({"sku": item.sku, "quantity": item.quantity})
    return items


def _transfers_of(order_id: int) -> list[_TransferRow]:
    source, destination = Location.alias("source"), Location.alias("destination")
    query = (
        TransferOrder.select(
            TransferOrder.id,
            TransferOrder.number,
            Package.number.alias("package"),
            source.code.alias("source"),
            destination.code.alias("destination"),
            TransferOrder.state,
        )
        .join(Package)
        .join_from(TransferOrder, source, on=source.id == TransferOrder.source)
        .join_from(TransferOrder, destination, on=destination.id == TransferOrder.destination)
        .where(Package.order == order_id)
        .order_by(TransferOrder.id)
    )
    return fetch(query, _TransferRow)


def _rejected(name: str) -> list[dict[str, Any]]:
    """Rejected orders are few, and their number is somewhere in the payload."""
    columns = columns_of(RejectedOrder, _RejectedRow)
    numbered = fn.strpos(RejectedOrder.payload, f'"number": "{name}"') > 0
    found = RejectedOrder.select(*columns).where((RejectedOrder.omnitron_id == name) | numbered)
    rejected = fetch(found.order_by(RejectedOrder.id), _RejectedRow)
    return [{"state": "rejected", **order._asdict()} for order in rejected]
