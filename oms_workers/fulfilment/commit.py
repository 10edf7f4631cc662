"""Writing plans: the orders' fence, the stock protocol, then one statement a table.

The caller holds the orders' rows locked and has read `plan_version` under that lock. Plans whose stock
somebody else has taken since it was read are left out; they can be made again from fresh stock.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from oms_workers.audit_events.record import Event, record
from oms_workers.database import execute, rows
from oms_workers.errors import OmsError
from oms_workers.fulfilment.models import PackageState, PlanState
from oms_workers.fulfilment.planner import Line, Plan
from oms_workers.orders.models import OrderState
from oms_workers.reservations.stock import NewReservation, lock_and_check, reserve

ACTOR = "oms.fulfilment.tasks.fulfil_waiting_orders"


class FenceError(OmsError):
    """An order is no longer what it was when it was planned."""


class _Package(NamedTuple):
    id: int
    number: str
    order_id: int
    plan_id: int
    location_id: int
    state: int


class _Item(NamedTuple):
    id: int
    package_id: int
    order_item_id: int
    sku: str
    quantity: int
    state: int


def commit_plans(plans: Sequence[Plan], *, default_location_id: int, at: datetime) -> list[Plan]:
    """Write the plans whose stock is still there, in the caller's transaction, and return the others.

    `plans` are in the order in which scarce stock is given out. What no rule could place becomes a package
    in out_of_stock at the default location, which the retry tasks find.
    Raises `FenceError` where an order's row has changed in spite of its lock.
    """
    fits = lock_and_check([plan.demand() for plan in plans])
    written = [plan for plan, fit in zip(plans, fits, strict=True) if fit]
    if written:
        _write(written, default_location_id, at)
    return [plan for plan, fit in zip(plans, fits, strict=True) if not fit]


def _write(plans: list[Plan], default_location_id: int, at: datetime) -> None:
    _fence(plans)
    plan_ids = _next_ids("order_execution_plans", len(plans))
    packages, items, reservations = _build(plans, plan_ids, default_location_id)
    _insert_plans(plans, plan_ids, at)
    _insert_packages(packages, at)
    _insert_items(items)
    reserve(reservations, reason=ACTOR, at=at)
    record(_events(plans, plan_ids, packages), actor=ACTOR, at=at)


def _fence(plans: list[Plan]) -> None:
    """Move each order on, from the version that was planned and from no other."""
    moved = execute(
        """
        UPDATE orders
        SET state = planned.state, plan_version = orders.plan_version + 1
        FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS planned (id, plan_version, state)
        WHERE orders.id = planned.id
          AND orders.plan_version = planned.plan_version
          AND orders.state = 'waiting'
        """,
        (
            [plan.order.id for plan in plans],
            [plan.order.plan_version for plan in plans],
            [_state_of(plan).value for plan in plans],
        ),
    )
    if moved != len(plans):
        raise FenceError(f"{len(plans) - moved} of {len(plans)} orders changed while they were planned.")


def _state_of(plan: Plan) -> OrderState:
    """An order of which nothing is left to send is settled."""
    return OrderState.PLANNED if plan.parcels or plan.leftovers else OrderState.SETTLED


def _build(
    plans: list[Plan], plan_ids: list[int], default_location_id: int
) -> tuple[list[_Package], list[_Item], list[NewReservation]]:
    """The rows of packages, items and reservations, with ids taken in advance so that they may refer."""
    shipments: list[tuple[Plan, int, int, list[Line], PackageState]] = []
    for plan, plan_id in zip(plans, plan_ids, strict=True):
        shipments += [(plan, plan_id, *parcel, PackageState.WAITING) for parcel in plan.parcels]
        if plan.leftovers:
            shipments.append((plan, plan_id, default_location_id, plan.leftovers, PackageState.OUT_OF_STOCK))
    package_ids = iter(_next_ids("packages", len(shipments)))
    item_ids = iter(_next_ids("package_items", sum(len(lines) for _, _, _, lines, _ in shipments)))
    packages: list[_Package] = []
    items: list[_Item] = []
    reservations: list[NewReservation] = []
    numbers = {plan.order.id: plan.order.packages_before for plan in plans}
    for plan, plan_id, location_id, lines, state in shipments:
        order_id, package_id = plan.order.id, next(package_ids)
        numbers[order_id] += 1
        packages.append(
            _Package(package_id, f"P{order_id}-{numbers[order_id]}", order_id, plan_id, location_id, state)
        )
        for line in lines:
            item_id = next(item_ids)
            items.append(_Item(item_id, package_id, *line, state))
            if state is PackageState.WAITING:
                reservations.append(NewReservation(line.sku, location_id, line.quantity, item_id))
    return packages, items, reservations


def _next_ids(table: str, count: int) -> list[int]:
    found = rows("SELECT nextval(%s) FROM generate_series(1, %s)", (f"{table}_id_seq", count))
    return [id_ for (id_,) in found]


def _insert_plans(plans: list[Plan], ids: list[int], at: datetime) -> None:
    execute(
        """
        INSERT INTO order_execution_plans (id, order_id, attempt, context, state, created_at)
        SELECT id, order_id, attempt, context::jsonb, %s, %s
        FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::text[])
            AS plan (id, order_id, attempt, context)
        """,
        (
            PlanState.COMPLETED.value,
            at,
            ids,
            [plan.order.id for plan in plans],
            [plan.order.attempt for plan in plans],
            [json.dumps(plan.context) for plan in plans],
        ),
    )


def _insert_packages(packages: list[_Package], at: datetime) -> None:
    if packages:
        execute(
            """
            INSERT INTO packages (id, number, order_id, plan_id, location_id, state, created_at)
            SELECT new.*, %s
            FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[]) AS new
            """,
            (at, *_columns(packages)),
        )


def _insert_items(items: list[_Item]) -> None:
    if items:
        execute(
            """
            INSERT INTO package_items (id, package_id, order_item_id, sku, quantity, state)
            SELECT new.*
            FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::int[], %s::int[]) AS new
            """,
            _columns(items),
        )


def _columns(tuples: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*tuples, strict=True)]


def _events(plans: list[Plan], plan_ids: list[int], packages: list[_Package]) -> list[Event]:
    planned = [
        Event("order", plan.order.id, _state_of(plan).value, {"plan": plan_id})
        for plan, plan_id in zip(plans, plan_ids, strict=True)
    ]
    created = [
        Event("package", package.id, "created", {"order": package.order_id, "state": package.state})
        for package in packages
    ]
    return planned + created
