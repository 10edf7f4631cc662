"""The configurations of each task that this deployment knows, the newer ones with the higher generations."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peewee import fn

from oms_workers.configuration.cadence import Cadence
from oms_workers.scheduling.models import TaskConfiguration
from oms_workers.scheduling.succession import Standing
from oms_workers.sets import Arrays, fetch_one


@dataclass(frozen=True)
class TaskPlan:
    """A task as this process is configured to run it."""

    task: str
    cadence: Cadence
    enabled: bool
    catch_up: timedelta


def make_newest(plan: TaskPlan) -> int:
    """Give the plan's configuration the highest generation of its task; return it."""
    newest = _newest_generation(plan.task)
    own = standing(plan)
    if own is not None and own.generation == newest:
        return newest
    if own is None:
        TaskConfiguration.insert(
            task=plan.task, cadence=str(plan.cadence), enabled=plan.enabled, generation=newest + 1
        ).returning().execute()
    else:
        change(plan, generation=newest + 1, alone_since=None)
    return newest + 1


def _newest_generation(task: str) -> int:
    query = TaskConfiguration.select(fn.MAX(TaskConfiguration.generation)).where(
        TaskConfiguration.task == task
    )
    newest: int | None = query.scalar()
    return newest or 0


def standing(plan: TaskPlan) -> Standing | None:
    """The standing of the plan's configuration, or None where nobody has known it yet."""
    return fetch_one(_select_standing().where(*_is_of(plan)), Standing)


def standing_of(task: str, generation: int) -> Standing | None:
    """The standing of the task's configuration that has this generation."""
    query = _select_standing().where(
        TaskConfiguration.task == task, TaskConfiguration.generation == generation
    )
    return fetch_one(query, Standing)


def _select_standing() -> Any:
    return TaskConfiguration.select(
        TaskConfiguration.generation, TaskConfiguration.last_seen, TaskConfiguration.alone_since
    )


def change(plan: TaskPlan, **values: Any) -> None:
    """Change what is known of the plan's configuration."""
    TaskConfiguration.update(**values).where(*_is_of(plan)).execute()


def _is_of(plan: TaskPlan) -> tuple[Any, ...]:
    """The conditions that a configuration is the plan's, by the unique index on all three."""
    return (
        TaskConfiguration.task == plan.task,
        TaskConfiguration.cadence == str(plan.cadence),
        TaskConfiguration.enabled == plan.enabled,
    )


def as_rows(plans: Iterable[TaskPlan]) -> Arrays:
    """The plans' configurations as a table."""
    columns = (TaskConfiguration.task, TaskConfiguration.cadence, TaskConfiguration.enabled)
    return Arrays(
        "run",
        {field.name: field for field in columns},
        [(plan.task, str(plan.cadence), plan.enabled) for plan in plans],
    )
