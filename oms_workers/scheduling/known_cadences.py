"""The cadences that this deployment knows, each with the moment from which it counts.

Slots before `since` do not exist: a cadence that is new, enabled again or back after it was replaced starts
now, and old and new processes of a deploy do not disturb each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from oms_workers.configuration.cadence import Cadence
from oms_workers.database import execute, rows

#: A cadence that nobody has run for so long, while another one was, has been replaced; when it comes back
#: it starts anew. Old and new processes of a deploy live side by side for less.
REPLACED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class TaskPlan:
    """A task as this process is configured to run it."""

    task: str
    cadence: Cadence
    enabled: bool
    catch_up: timedelta


def announce(plans: Iterable[TaskPlan]) -> None:
    """Make new cadences start now, and leave those that are known to the processes that run them.

    A release that migrates may yet be refused; what it would enable or disable must not happen then.
    """
    for plan in plans:
        execute(
            """
            INSERT INTO scheduled_tasks (task, cadence, enabled, since, last_seen)
            VALUES (%s, %s, %s, clock_timestamp(), clock_timestamp())
            ON CONFLICT DO NOTHING
            """,
            (plan.task, str(plan.cadence), plan.enabled),
        )


def record(plans: Iterable[TaskPlan]) -> None:
    """Say which cadences this process runs. A cadence that is new, enabled again or back starts now."""
    for plan in plans:
        execute(
            """
            INSERT INTO scheduled_tasks AS known (task, cadence, enabled, since, last_seen)
            VALUES (%(task)s, %(cadence)s, %(enabled)s, clock_timestamp(), clock_timestamp())
            ON CONFLICT (task, cadence) DO UPDATE SET
                enabled = excluded.enabled,
                enabled_at = CASE
                    WHEN excluded.enabled <> known.enabled THEN excluded.last_seen ELSE known.enabled_at
                END,
                last_seen = excluded.last_seen,
                since = CASE
                    WHEN excluded.enabled AND NOT known.enabled THEN excluded.since
                    WHEN known.last_seen < excluded.last_seen - %(replaced_after)s::interval AND EXISTS (
                        SELECT FROM scheduled_tasks AS other
                        WHERE other.task = known.task
                          AND other.cadence <> known.cadence
                          AND other.last_seen > known.last_seen
                    ) THEN excluded.since
                    ELSE known.since
                END
            """,
            {
                "task": plan.task,
                "cadence": str(plan.cadence),
                "enabled": plan.enabled,
                "replaced_after": REPLACED_AFTER,
            },
        )


def keep(plans: Iterable[TaskPlan]) -> None:
    """Say that these cadences are still run.

    Where another process has said otherwise about a task's being enabled, and is not answered for longer
    than two generations of a deploy live side by side, those who are left are right: one late start of an
    old process must not switch a task for good.
    """
    plans = [*plans]
    execute(
        """
        UPDATE scheduled_tasks
        SET last_seen = clock_timestamp()
        FROM unnest(%s::text[], %s::text[]) AS seen (task, cadence)
        WHERE scheduled_tasks.task = seen.task AND scheduled_tasks.cadence = seen.cadence
        """,
        ([plan.task for plan in plans], [str(plan.cadence) for plan in plans]),
    )
    contradicted = rows(
        """
        SELECT known.task, known.cadence
        FROM scheduled_tasks AS known
        JOIN unnest(%s::text[], %s::text[], %s::boolean[]) AS seen (task, cadence, enabled)
          ON seen.task = known.task AND seen.cadence = known.cadence
        WHERE seen.enabled <> known.enabled AND known.enabled_at < clock_timestamp() - %s::interval
        """,
        (
            [plan.task for plan in plans],
            [str(plan.cadence) for plan in plans],
            [plan.enabled for plan in plans],
            REPLACED_AFTER,
        ),
    )
    keys = {(found.task, found.cadence) for found in contradicted}
    record(plan for plan in plans if (plan.task, str(plan.cadence)) in keys)
