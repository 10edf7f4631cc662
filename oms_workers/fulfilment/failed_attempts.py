"""Attempts to plan a package again that placed nothing: counted, traced, and ended when there were too many.

The newest trace of a package replaces the one before it, so that a package that waits for a year does not
leave a year of traces.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from oms_workers.database import execute, rows
from oms_workers.fulfilment.models import PackageState, PlanState
from oms_workers.fulfilment.planning.plans import Plan
from oms_workers.fulfilment.states import Change, change_packages


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
        SET replan_attempts = replan_attempts + 1,
            -- What was said first about how long it may wait holds.
            cancel_after = coalesce(cancel_after, %s + attempt.days * interval '1 day')
        FROM unnest(%s::bigint[], %s::int[]) AS attempt (package_id, days)
        WHERE packages.id = attempt.package_id
        """,
        (at, packages, [plan.cancel_after_days for plan in plans if plan.order.replaces is not None]),
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
    known = {
        found.package_id: found.id
        for found in rows(
            """
            SELECT DISTINCT ON (package_id) package_id, id
            FROM order_execution_plans
            WHERE package_id = ANY(%s) AND state = %s
            ORDER BY package_id, id DESC
            """,
            ([plan.order.replaces for plan in plans], PlanState.CANCELLED.value),
        )
    }
    again = [plan for plan in plans if plan.order.replaces in known]
    execute(
        """
        UPDATE order_execution_plans
        SET context = attempt.context::jsonb, created_at = %s
        FROM unnest(%s::bigint[], %s::text[]) AS attempt (id, context)
        WHERE order_execution_plans.id = attempt.id
        """,
        (at, [known[plan.order.replaces] for plan in again], [json.dumps(plan.context) for plan in again]),
    )
    first = [plan for plan in plans if plan.order.replaces not in known]
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
            [plan.order.id for plan in first],
            [plan.order.attempt for plan in first],
            [plan.order.replaces for plan in first],
            [json.dumps(plan.context) for plan in first],
        ),
    )
