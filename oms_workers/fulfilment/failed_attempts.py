"""Attempts to plan a package again that placed nothing: counted, traced, and ended after so many."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import Select, fn

from oms_workers.audit_events.door import Change, Door
from oms_workers.database import database
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.fulfilment.planning.plans import Plan, ReplacedPackage
from oms_workers.fulfilment.states import PLAN
from oms_workers.packages.models import Package, PackageState
from oms_workers.packages.states import PACKAGE
from oms_workers.sets import one_of

#: The newest traces of a package that are kept, a kilobyte each: one that waits for a year and is looked at
#: each hour must not leave thousands of them.
KEPT_TRACES = 5


class _Attempt(NamedTuple):
    id: int
    replan_attempts: int
    cancel_after: datetime | None


class _Trace(NamedTuple):
    id: int
    order_id: int
    attempt: int
    package_id: int
    context: dict[str, Any]
    state: PlanState = PlanState.CANCELLED


def record_failed_attempts(plans: Sequence[Plan], door: Door, *, max_attempts: int) -> None:
    """Count and trace these attempts, whose packages are locked; the package itself stays as it is.

    With `max_attempts`, those that have had so many become unavailable, once.
    """
    attempts = [(plan, plan.order.replaces) for plan in plans if plan.order.replaces is not None]
    if not attempts:
        return
    counted = [_counted(plan, replaced, door.at) for plan, replaced in attempts]
    Package.update_set(counted, fruitless_at=door.at)
    _trace(attempts, door)
    spent = [
        replaced
        for _, replaced in attempts
        if replaced.state is not PackageState.UNAVAILABLE and 0 < max_attempts <= replaced.attempts + 1
    ]
    door.change(PACKAGE, [_given_up(replaced) for replaced in spent])


def _counted(plan: Plan, replaced: ReplacedPackage, at: datetime) -> _Attempt:
    return _Attempt(replaced.id, replaced.attempts + 1, plan.end_of_wait(at))


def _given_up(replaced: ReplacedPackage) -> Change:
    content = {"attempts": replaced.attempts + 1}
    before = PackageState(replaced.state)
    return Change(replaced.id, before, PackageState.UNAVAILABLE, "given_up", content)


def _trace(attempts: Sequence[tuple[Plan, ReplacedPackage]], door: Door) -> None:
    ids = OrderExecutionPlan.next_ids(len(attempts))
    traces = [
        _Trace(id_, plan.order.id, plan.order.attempt, replaced.id, plan.context)
        for id_, (plan, replaced) in zip(ids, attempts, strict=True)
    ]
    door.create(PLAN, traces, created_at=door.at)
    _forget_old_traces([replaced.id for _, replaced in attempts])


def _forget_old_traces(package_ids: Sequence[int]) -> None:
    plan = OrderExecutionPlan
    age = fn.ROW_NUMBER().over(partition_by=[plan.package_id], order_by=[plan.id.desc()])
    # By the index order_execution_plans_package.
    traced = (
        plan.select(plan.id, age.alias("age"))
        .where(one_of(plan.package_id, package_ids), plan.state == PlanState.CANCELLED)
        .alias("traced")
    )
    old = Select([traced], [traced.c.id]).where(traced.c.age > KEPT_TRACES).bind(database)
    plan.delete().where(plan.id.in_(old)).execute()
