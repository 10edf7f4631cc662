"""The task table: each task with its default cadence and with what the environment sets for it.

`schedules.py` gives its rows to `register()`; no room imports the tasks from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import dramatiq

import settings
from oms_workers import broker
from oms_workers.configuration.cadence import Cadence, Crontab, Interval, parse_crontab
from oms_workers.errors import ArgumentError
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.operation import Operation

#: The least time before a slot is stale: a message needs a while to reach a worker.
MIN_CATCH_UP_SECONDS = 60


@dataclass(frozen=True)
class Task:
    """One row of the table: a task's name, its variables' key, its operation, default cadence and kwargs."""

    name: str
    env_key: str
    operation: Operation
    default: Cadence
    kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def path(self) -> str:
        """The seed's dotted task path, which is the actor's name and the ledger's `task`."""
        return self.operation.name

    @property
    def actor(self) -> dramatiq.Actor[..., Any]:
        """The operation's actor, once the program has begun."""
        return broker.current().get_actor(self.path)

    @property
    def cadence(self) -> Cadence:
        return settings.current().switch(self.env_key).cadence or self.default

    @property
    def enabled(self) -> bool:
        return settings.current().switch(self.env_key).enabled

    @property
    def source(self) -> str:
        """The variable that set the cadence, or `default`."""
        return settings.current().switch(self.env_key).source

    @property
    def arguments(self) -> dict[str, Any]:
        """The row's kwargs, as this process's settings change them."""
        configuration = settings.current()
        changed = {name: getattr(configuration, field) for name, field in self.operation.variables.items()}
        return {**self.kwargs, **changed}

    @property
    def plan(self) -> TaskPlan:
        configuration = settings.current()
        seconds = max(configuration.catch_up_seconds, 2 * configuration.tick_seconds, MIN_CATCH_UP_SECONDS)
        return TaskPlan(self.path, self.cadence, self.enabled, timedelta(seconds=seconds))


class UnknownTaskError(ArgumentError):
    """No task has this name, key or path."""

    def __init__(self, name: str) -> None:
        known = ", ".join(task.name for task in tasks())
        super().__init__(f"No task is called {name!r}. There are: {known}.")


_tasks: dict[str, Task] = {}


def every(seconds: int) -> Interval:
    """A default cadence: every so many seconds."""
    return Interval(seconds)


def crontab(text: str) -> Crontab:
    """A default cadence: the seed's `minute,hour,day,month,weekday`, in `TIME_ZONE`."""
    return Crontab(parse_crontab(text), settings.current().zone)


def register(rows: Iterable[Task]) -> None:
    """Make these rows the table."""
    _tasks.clear()
    _tasks.update((row.path, row) for row in rows)


def tasks() -> list[Task]:
    """The table's rows, in its order."""
    return [*_tasks.values()]


def find(name: str) -> Task:
    """The row that has this name, env_key or path. Raises `UnknownTaskError`."""
    for task in tasks():
        if name in (task.name, task.env_key, task.path):
            return task
    raise UnknownTaskError(name)
