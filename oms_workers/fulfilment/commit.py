"""Writing plans: the orders' fence, the stock protocol, then one statement a table.

The caller holds the rows of the orders, and of the packages that are planned again, locked, and has read
`plan_version` under that lock. Plans whose stock or quota somebody else has taken since it was read are left
out; they can be made again from fresh stock.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from oms_workers.audit_events.record import Event, record
from oms_workers.database import execute, rows
from oms_workers.errors import OmsError
from oms_workers.fulfilment.models import PackageState, PlanState
from oms_workers.fulfilment.package_rows import NewPackage, PackageRows, next_ids
from oms_workers.fulfilment.planning.plans import Plan
from oms_workers.fulfilment.snapshot import Snapshot, open_packages
from oms_workers.fulfilment.states import Change, change_packages
from oms_workers.orders.models import OrderState
from oms_workers.reservations.stock import lock_and_check


class FenceError(OmsError):
    """An order is no longer what it was when it was planned."""


def commit_plans(plans: Sequence[Plan], snapshot: Snapshot, *, actor: str, at: datetime) -> list[Plan]:
    """Write the plans whose stock is still there, in the caller's transaction, and return the others.

    `plans` are in the order in which scarce stock is given out. What no rule could place becomes a package
    in out_of_stock at the default location, which the retry tasks find. A plan that replaces a package
    cancels it.
    Raises `FenceError` where an order's row has changed in spite of its lock.
    """
    allowed = _within_quota(plans, snapshot.limited)
    fits = dict(zip(map(id, allowed), lock_and_check([plan.demand() for plan in allowed]), strict=True))
    written = [plan for plan in plans if fits.get(id(plan))]
    if written:
        _write(written, snapshot.default_location_id, actor, at)
    return [plan for plan in plans if not fits.get(id(plan))]


def _within_quota(plans: Sequence[Plan], limited: frozenset[int]) -> list[Plan]:
    """The plans for which the quotas of their locations have room, counted under the locations' locks."""
    wanted = {parcel.location_id for plan in plans for parcel in plan.parcels} & limited
    if not wanted:
        return [*plans]
    quotas = rows(
        "SELECT id, quota FROM locations WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", ([*wanted],)
    )
    used = open_packages(wanted)
    left = {
        location_id: quota - used.get(location_id, 0) for location_id, quota in quotas if quota is not None
    }
    allowed = []
    for plan in plans:
        places = [parcel.location_id for parcel in plan.parcels if parcel.location_id in left]
        if all(left[place] > 0 for place in places):
            allowed.append(plan)
            for place in places:
                left[place] -= 1
    return allowed


def _write(plans: list[Plan], default_location_id: int, actor: str, at: datetime) -> None:
    _fence(plans)
    plan_ids = next_ids("order_execution_plans", len(plans))
    _insert_plans(plans, plan_ids, at)
    written = PackageRows(plans, plan_ids, default_location_id, at)
    written.insert(reason=actor, at=at)
    record(_events(plans, plan_ids, written.packages), actor=actor, at=at)
    superseded = [
        Change(
            plan.order.replaces, PackageState(state), PackageState.CANCELLED, "superseded", {"plan": plan_id}
        )
        for plan, plan_id in zip(plans, plan_ids, strict=True)
        if plan.order.replaces is not None and (state := plan.order.replaced_state) is not None
    ]
    if superseded:
        change_packages(superseded, actor=actor, at=at)


def _fence(plans: list[Plan]) -> None:
    """Move each order on, from the version that was planned and from no other."""
    orders = {plan.order.id: plan for plan in plans}
    moved = execute(
        """
        UPDATE orders
        SET state = planned.after, plan_version = orders.plan_version + 1
        FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[])
            AS planned (id, plan_version, before, after)
        WHERE orders.id = planned.id
          AND orders.plan_version = planned.plan_version
          AND orders.state = planned.before
        """,
        (
            [*orders],
            [plan.order.plan_version for plan in orders.values()],
            [_state_before(plan).value for plan in orders.values()],
            [_state_after(plan).value for plan in orders.values()],
        ),
    )
    if moved != len(orders):
        raise FenceError(f"{len(orders) - moved} of {len(orders)} orders changed while they were planned.")


def _state_before(plan: Plan) -> OrderState:
    return OrderState.WAITING if plan.order.replaces is None else OrderState.PLANNED


def _state_after(plan: Plan) -> OrderState:
    """An order of which nothing is left to send is settled."""
    if plan.hold_reason is not None:
        return OrderState.HELD
    return OrderState.PLANNED if plan.parcels or plan.leftovers else OrderState.SETTLED


def _insert_plans(plans: list[Plan], ids: list[int], at: datetime) -> None:
    execute(
        """
        INSERT INTO order_execution_plans (id, order_id, attempt, package_id, state, context, created_at)
        SELECT id, order_id, attempt, package_id, state, context::jsonb, %s
        FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::text[], %s::text[])
            AS plan (id, order_id, attempt, package_id, state, context)
        """,
        (
            at,
            ids,
            [plan.order.id for plan in plans],
            [plan.order.attempt for plan in plans],
            [plan.order.replaces for plan in plans],
            [(PlanState.PENDING if plan.hold_reason else PlanState.COMPLETED).value for plan in plans],
            [json.dumps(plan.context) for plan in plans],
        ),
    )


def _events(plans: list[Plan], plan_ids: list[int], packages: list[NewPackage]) -> list[Event]:
    planned = [
        Event("order", plan.order.id, _action(plan), _content(plan, plan_id))
        for plan, plan_id in zip(plans, plan_ids, strict=True)
    ]
    created = [
        Event("package", package.id, "created", {"order": package.order_id, "state": package.state})
        for package in packages
    ]
    return planned + created


def _action(plan: Plan) -> str:
    return _state_after(plan).value if plan.order.replaces is None else "replanned"


def _content(plan: Plan, plan_id: int) -> dict[str, Any]:
    content: dict[str, Any] = {"plan": plan_id}
    if plan.hold_reason is not None:
        content["reason"] = plan.hold_reason
    return content
