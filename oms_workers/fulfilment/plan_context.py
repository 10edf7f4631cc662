"""What became of a plan's packages, written into its context (task 15), in sets, where it changed."""

from datetime import datetime, timedelta
from typing import Any

from oms_workers.database import execute, retry_transient, row, rows, transaction
from oms_workers.scheduling.run import Run

#: Plans that one statement compares; their packages are few.
BATCH = 5_000

#: The age up to which a plan's context is kept up, by the operators' document.
MONTHS = 3
MAX_AGE = timedelta(days=92)

#: What is written of a plan's packages. Its order's packages have an index, and are few.
_FACTS = """
    jsonb_agg(
        jsonb_build_object(
            'number', packages.number,
            'state', packages.state,
            'location', locations.code,
            'created_at', packages.created_at,
            'changed_at', packages.changed_at
        ) ORDER BY packages.id
    )
"""
_JOIN_FACTS = """
    JOIN packages ON packages.order_id = plans.order_id AND packages.plan_id = plans.id
    JOIN locations ON locations.id = packages.location_id
"""


def refresh_contexts(run: Run) -> dict[str, int]:
    """Rewrite the context of each plan younger than three months whose packed packages changed since.

    Returns how many plans were rewritten.
    """
    counts = {"rewritten": 0}
    after: tuple[datetime, int] = (run.now - MAX_AGE, 0)
    while (last := _last_of_batch(after)) is not None:
        counts["rewritten"] += retry_transient(lambda: _refresh(after, last, run.now))  # noqa: B023
        after = last
        if run.should_stop():
            break
    return counts


def _last_of_batch(after: tuple[datetime, int]) -> tuple[datetime, int] | None:
    """The end of the next keyset of plans, by the index order_execution_plans_created_at."""
    found: Any = row(
        """
        SELECT created_at, id
        FROM (
            SELECT created_at, id
            FROM order_execution_plans
            WHERE (created_at, id) > (%s, %s)
            ORDER BY created_at, id
            LIMIT %s
        ) AS batch
        ORDER BY created_at DESC, id DESC
        LIMIT 1
        """,
        (*after, BATCH),
    )
    return None if found is None else (found.created_at, found.id)


def _refresh(after: tuple[datetime, int], last: tuple[datetime, int], now: datetime) -> int:
    """Compare one batch, and rewrite those of it that changed, locked in one order whoever comes."""
    with transaction():
        changed = _changed_between(after, last)
        if not changed:
            return 0
        rows(
            "SELECT id FROM order_execution_plans WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
            (changed,),
        )
        return execute(
            f"""
            UPDATE order_execution_plans
            SET context = context || jsonb_build_object(
                'packages', facts.packages, 'refreshed_at', %(now)s::timestamptz
            )
            FROM (
                SELECT plans.id, {_FACTS} AS packages
                FROM order_execution_plans AS plans
                {_JOIN_FACTS}
                WHERE plans.id = ANY(%(changed)s)
                GROUP BY plans.id
            ) AS facts
            WHERE order_execution_plans.id = facts.id
            """,
            {"now": now, "changed": changed},
        )


def _changed_between(after: tuple[datetime, int], last: tuple[datetime, int]) -> list[int]:
    """The plans of a batch whose order has something packed, and whose packages are not as was written."""
    found = rows(
        f"""
        SELECT plans.id
        FROM order_execution_plans AS plans
        {_JOIN_FACTS}
        WHERE (plans.created_at, plans.id) > (%s, %s)
          AND (plans.created_at, plans.id) <= (%s, %s)
          AND EXISTS (
              SELECT FROM packages AS packed WHERE packed.order_id = plans.order_id AND packed.state >= 450
          )
        GROUP BY plans.id
        HAVING (plans.context -> 'packages') IS DISTINCT FROM {_FACTS}
        ORDER BY plans.id
        """,
        (*after, *last),
    )
    return [plan.id for plan in found]
