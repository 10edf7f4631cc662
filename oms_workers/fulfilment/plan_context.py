"""What became of a plan's packages, written into its context (task 15), in sets, where it changed."""

from datetime import datetime, timedelta
from typing import Any

from oms_workers.database import execute, retry_transient, row
from oms_workers.scheduling.run import Run

#: Plans that one statement compares; their packages are few.
BATCH = 5_000

#: The age up to which a plan's context is kept up, by the operators' document.
MONTHS = 3
MAX_AGE = timedelta(days=92)


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
    return execute(
        """
        WITH batch AS (
            SELECT id, order_id, context -> 'packages' AS known
            FROM order_execution_plans
            WHERE (created_at, id) > (%(after_at)s, %(after_id)s)
              AND (created_at, id) <= (%(last_at)s, %(last_id)s)
              AND EXISTS (
                  SELECT FROM packages
                  WHERE packages.order_id = order_execution_plans.order_id AND state >= 450
              )
        ), facts AS (
            SELECT batch.id,
                   jsonb_agg(
                       jsonb_build_object(
                           'number', packages.number,
                           'state', packages.state,
                           'location', locations.code,
                           'created_at', packages.created_at,
                           'changed_at', packages.changed_at
                       ) ORDER BY packages.id
                   ) AS packages
            FROM batch
            JOIN packages ON packages.plan_id = batch.id
            JOIN locations ON locations.id = packages.location_id
            GROUP BY batch.id
        ), changed AS (
            -- Locked in one order, whoever comes, and only what is written.
            SELECT order_execution_plans.id
            FROM order_execution_plans
            WHERE order_execution_plans.id IN (
                SELECT batch.id
                FROM batch
                JOIN facts ON facts.id = batch.id
                WHERE batch.known IS DISTINCT FROM facts.packages
            )
            ORDER BY order_execution_plans.id
            FOR NO KEY UPDATE
        )
        UPDATE order_execution_plans
        SET context = context || jsonb_build_object(
            'packages', facts.packages, 'refreshed_at', %(now)s::timestamptz
        )
        FROM changed
        JOIN facts ON facts.id = changed.id
        WHERE order_execution_plans.id = changed.id
        """,
        {"after_at": after[0], "after_id": after[1], "last_at": last[0], "last_id": last[1], "now": now},
    )
