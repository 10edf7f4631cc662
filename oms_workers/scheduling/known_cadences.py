"""The cadences that this deployment knows, each with the moment from which it counts.

Slots before `since` do not exist. A cadence starts now when it is new, enabled again, or back after it was
replaced. Old and new processes that run side by side in a deploy do not disturb each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import EXCLUDED, Case, fn

from oms_workers.configuration.cadence import Cadence
from oms_workers.database import database_now
from oms_workers.scheduling.models import ScheduledTask
from oms_workers.sets import Arrays, fetch, fetch_one, for_change

#: A cadence counts as replaced when no process has run it for so long while another cadence of its task was
#: run. When it comes back, it starts anew. Old and new processes of a deploy run side by side for less.
REPLACED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class TaskPlan:
    """A task as this process is configured to run it."""

    task: str
    cadence: Cadence
    enabled: bool
    catch_up: timedelta


class KnownCadence(NamedTuple):
    """What the database knows of a cadence, and PostgreSQL's time `now`."""

    since: datetime
    enabled: bool
    now: datetime


class _CadenceKey(NamedTuple):
    """What makes a row of `scheduled_tasks` unique."""

    task: str
    cadence: str


def find(plan: TaskPlan) -> KnownCadence | None:
    """The plan's cadence, or None where nobody has recorded it yet."""
    return fetch_one(_select(plan), KnownCadence)


def lock(plan: TaskPlan) -> KnownCadence:
    """The plan's cadence, locked until the transaction ends; it is recorded first where it is not known yet.

    Claims of one cadence follow one another by this lock.
    """
    query = for_change(_select(plan))
    known = fetch_one(query, KnownCadence)
    if known is None:
        record([plan])
        (known,) = fetch(query, KnownCadence)
    # Another transaction may have held the lock for a while, so the time is read again.
    return known._replace(now=database_now())


def _select(plan: TaskPlan) -> Any:
    """The query for the plan's cadence, by the unique index on (task, cadence)."""
    columns = (ScheduledTask.since, ScheduledTask.enabled, fn.clock_timestamp().alias("now"))
    return ScheduledTask.select(*columns).where(
        ScheduledTask.task == plan.task,
        ScheduledTask.cadence == str(plan.cadence),
    )


def last_seen(task: str) -> datetime | None:
    """When a process last said that it runs the task, with whatever cadence."""
    query = ScheduledTask.select(fn.MAX(ScheduledTask.last_seen)).where(ScheduledTask.task == task)
    moment: datetime | None = query.scalar()
    return moment


def announce(plans: Iterable[TaskPlan]) -> None:
    """Let new cadences start now. Known cadences are left to the processes that run them.

    A release that migrates may still be refused, so it must not enable or disable a task.
    """
    for plan in plans:
        _insert(plan).on_conflict_ignore().returning().execute()


def record(plans: Iterable[TaskPlan]) -> None:
    """Say which cadences this process runs. A cadence that is new, enabled again or back starts now."""
    for plan in plans:
        _insert(plan).on_conflict(
            conflict_target=[ScheduledTask.task, ScheduledTask.cadence],
            preserve=[ScheduledTask.enabled, ScheduledTask.last_seen],
            update={
                ScheduledTask.enabled_at: Case(
                    None,
                    [(EXCLUDED.enabled != ScheduledTask.enabled, EXCLUDED.last_seen)],
                    ScheduledTask.enabled_at,
                ),
                ScheduledTask.since: Case(
                    None,
                    [
                        (EXCLUDED.enabled & ~ScheduledTask.enabled, EXCLUDED.since),
                        (_is_back(), EXCLUDED.since),
                    ],
                    ScheduledTask.since,
                ),
            },
        ).returning().execute()


def _insert(plan: TaskPlan) -> Any:
    return ScheduledTask.insert(
        task=plan.task,
        cadence=str(plan.cadence),
        enabled=plan.enabled,
        since=fn.clock_timestamp(),
        last_seen=fn.clock_timestamp(),
    )


def _is_back() -> Any:
    """The condition that a cadence which is inserted again had been replaced by another one of its task."""
    other = ScheduledTask.alias("other")
    replacement = other.select(other.id).where(
        other.task == ScheduledTask.task,
        other.cadence != ScheduledTask.cadence,
        other.last_seen > ScheduledTask.last_seen,
    )
    return (ScheduledTask.last_seen < EXCLUDED.last_seen - REPLACED_AFTER) & fn.EXISTS(replacement)


def keep(plans: Iterable[TaskPlan]) -> None:
    """Say that these cadences are still run.

    Processes may disagree whether a task is enabled. When the last change is older than `REPLACED_AFTER`,
    the processes that still run are right, and their plans are recorded. So one late start of an old process
    does not switch a task for good.
    """
    running = {_CadenceKey(plan.task, str(plan.cadence)): plan for plan in plans}
    seen = Arrays(
        "seen",
        {
            "task": ScheduledTask.task,
            "cadence": ScheduledTask.cadence,
            "enabled": ScheduledTask.enabled,
        },
        [(*key, plan.enabled) for key, plan in running.items()],
    )
    ScheduledTask.update(last_seen=fn.clock_timestamp()).from_(seen).where(
        seen.matches(ScheduledTask, "task", "cadence")
    ).execute()
    contradicted = (
        ScheduledTask.select(ScheduledTask.task, ScheduledTask.cadence)
        .join(seen, on=seen.matches(ScheduledTask, "task", "cadence"))
        .where(
            seen.c.enabled != ScheduledTask.enabled,
            ScheduledTask.enabled_at < fn.clock_timestamp() - REPLACED_AFTER,
        )
    )
    record(running[key] for key in fetch(contradicted, _CadenceKey))
