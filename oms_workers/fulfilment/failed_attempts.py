"""Attempts to plan a package again that placed nothing: counted, traced, and ended after so many."""

import json
from collections.abc import Sequence
from datetime import datetime

from oms_workers.database import execute
from oms_workers.fulfilment.models import PackageState, PlanState
from oms_workers.fulfilment.planning.plans import Plan
from oms_workers.fulfilment.states import Change, change_packages

#: The newest traces of a package that are kept, a kilobyte each: one that waits for a year and is looked at
#: each hour must not leave thousands of them.
KEPT_TRACES = 5


def record_failed_attempts(plans: Sequence[Plan], *, actor: str, at: datetime, max_attempts: int) -> None:
    """Count and trace these attempts, whose packages are locked; the package itself stays as it is.

    With `max_attempts`, those that have had so many become unavailable, once.
    """
    if not plans:
        return
    packages = [plan.order.replaces for plan in plans if plan.order.replaces is not None]
    execute(
        """
        UPDATE packages
        SET replan_attempts = replan_attempts + 1, fruitless_at = %s,
            -- What was said first about how long it may wait holds.
            cancel_after = coalesce(cancel_after, %s + attempt.days * interval '1 day')
        FROM unnest(%s::bigint[], %s::int[]) AS attempt (package_id, days)
        WHERE packages.id = attempt.package_id
        """,
        (at, at, packages, [plan.cancel_after_days for plan in plans if plan.order.replaces is not None]),
    )
    _trace(plans, at)
    spent = [
        Change(
            plan.order.replaces,
            PackageState(plan.order.replaced_state),
            PackageState.UNAVAILABLE,
            "given_up",
            {"attempts": plan.order.replan_attempts + 1},
        )
        for plan in plans
        if plan.order.replaces is not None
        and plan.order.replaced_state not in (None, PackageState.UNAVAILABLE)
        and 0 < max_attempts <= plan.order.replan_attempts + 1
    ]
    if spent:
        change_packages(spent, actor=actor, at=at)


def _trace(plans: Sequence[Plan], at: datetime) -> None:
    execute(
        """
        INSERT INTO order_execution_plans (order_id, attempt, package_id, context, state, created_at)
        SELECT order_id, attempt, package_id, context::jsonb, %s, %s
        FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::text[])
            AS plan (order_id, attempt, package_id, context)
        """,
        (
            PlanState.CANCELLED.value,
            at,
            [plan.order.id for plan in plans],
            [plan.order.attempt for plan in plans],
            [plan.order.replaces for plan in plans],
            [json.dumps(plan.context) for plan in plans],
        ),
    )
    # By the index order_execution_plans_package.
    execute(
        """
        DELETE FROM order_execution_plans
        WHERE id IN (
            SELECT id
            FROM (
                SELECT id, row_number() OVER (PARTITION BY package_id ORDER BY id DESC) AS age
                FROM order_execution_plans
                WHERE package_id = ANY(%s) AND state = %s
            ) AS traced
            WHERE age > %s
        )
        """,
        ([plan.order.replaces for plan in plans], PlanState.CANCELLED.value, KEPT_TRACES),
    )
