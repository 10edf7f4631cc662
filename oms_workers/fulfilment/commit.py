"""Writing plans: the stock protocol, the orders' fence, then one statement a table.

The caller holds the rows of the orders, and of the packages that are planned again, locked, and has read
`plan_version` under that lock. Plans whose stock or quota others have taken since it was read are left out;
they can be made again from fresh stock.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from oms_workers.audit_events.door import Change, Door
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.fulfilment.package_rows import PackageRows
from oms_workers.fulfilment.planner_input import PlannerInput, open_packages
from oms_workers.fulfilment.planning.plans import Plan
from oms_workers.fulfilment.states import PLAN
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.states import ORDER
from oms_workers.packages.models import PackageState
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.models import Location
from oms_workers.reservations.stock import lock_and_check
from oms_workers.sets import fetch, for_change, one_of


class _Quota(NamedTuple):
    id: int
    quota: int | None


class _NewPlan(NamedTuple):
    id: int
    order_id: int
    attempt: int
    package_id: int | None
    state: PlanState
    context: dict[str, Any]


def commit_plans(plans: Sequence[Plan], planner_input: PlannerInput, door: Door) -> list[Plan]:
    """Write the plans whose stock is still there, in the caller's transaction, and return the others.

    `plans` are in the order in which scarce stock is given out. What no rule could place becomes a package
    in out_of_stock at the default location, which the retry tasks find. A plan that replaces a package
    cancels it.
    Raises `TransitionError` where an order's row has changed in spite of its lock.
    """
    allowed = _within_quota(plans, planner_input.limited)
    fits = lock_and_check([plan.demand() for plan in allowed])
    written = [plan for plan, fit in zip(allowed, fits, strict=True) if fit]
    if written:
        _write(written, planner_input.default_location_id, door)
    done = {plan.order.key for plan in written}
    return [plan for plan in plans if plan.order.key not in done]


def _within_quota(plans: Sequence[Plan], limited: frozenset[int]) -> list[Plan]:
    """The plans for which the quotas of their locations have room, counted under the locations' locks."""
    wanted = {parcel.location_id for plan in plans for parcel in plan.parcels} & limited
    if not wanted:
        return [*plans]
    query = Location.select(Location.id, Location.quota).where(one_of(Location.id, wanted))
    quotas = fetch(for_change(query.order_by(Location.id)), _Quota)
    used = open_packages(wanted)
    left = {id_: quota - used.get(id_, 0) for id_, quota in quotas if quota is not None}
    allowed = []
    for plan in plans:
        places = [parcel.location_id for parcel in plan.parcels if parcel.location_id in left]
        if all(left[place] > 0 for place in places):
            allowed.append(plan)
            for place in places:
                left[place] -= 1
    return allowed


def _write(plans: list[Plan], default_location_id: int, door: Door) -> None:
    plan_ids = OrderExecutionPlan.next_ids(len(plans))
    numbered = [*zip(plans, plan_ids, strict=True)]
    _move_orders(numbered, door)
    door.create(PLAN, [_row(plan, id_) for plan, id_ in numbered], created_at=door.at)
    PackageRows(plans, plan_ids, default_location_id, door.at).create(door)
    door.change(PACKAGE, [_superseded(plan, id_) for plan, id_ in numbered if plan.order.replaces])


def _move_orders(numbered: Sequence[tuple[Plan, int]], door: Door) -> None:
    """Each order moves on, from the version that was planned and from no other.

    It moves once, however many of its packages are planned again.
    """
    changes: dict[int, Change] = {}
    others: list[Change] = []
    for plan, id_ in numbered:
        change = _order_change(plan, id_)
        if changes.setdefault(plan.order.id, change) is not change:
            others.append(change)
    door.change(ORDER, [*changes.values()])
    for change in others:
        door.note(ORDER, change.id, change.action, change.content)
    if released := {plan.order.id for plan, _ in numbered if plan.order.released}:
        # Their lines are the same, so the release goes on to hold for them, also where they are replanned.
        kept = Order.update({Order.released_version: Order.plan_version})
        kept.where(one_of(Order.id, released)).execute()


def _order_change(plan: Plan, plan_id: int) -> Change:
    order, content = plan.order, {"plan": plan_id}
    if order.replaces is not None:
        planned = OrderState.PLANNED
        return Change(order.id, planned, planned, "replanned", content, order.plan_version)
    reason = {"reason": plan.hold_reason} if plan.hold_reason is not None else {}
    after = _state_after(plan)
    return Change(order.id, OrderState.WAITING, after, after.value, {**content, **reason}, order.plan_version)


def _state_after(plan: Plan) -> OrderState:
    """An order of which nothing is left to send is settled."""
    if plan.hold_reason is not None:
        return OrderState.HELD
    return OrderState.PLANNED if plan.parcels or plan.leftovers else OrderState.SETTLED


def _row(plan: Plan, id_: int) -> _NewPlan:
    state = PlanState.PENDING if plan.hold_reason else PlanState.COMPLETED
    package_id = plan.order.replaces.id if plan.order.replaces else None
    return _NewPlan(id_, plan.order.id, plan.order.attempt, package_id, state, plan.context)


def _superseded(plan: Plan, plan_id: int) -> Change:
    replaced = plan.order.replaces
    assert replaced is not None
    state = PackageState(replaced.state)
    return Change(replaced.id, state, PackageState.CANCELLED, "superseded", {"plan": plan_id})
