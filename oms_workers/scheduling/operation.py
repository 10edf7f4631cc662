"""What a scheduled operation is. No broker is needed to make one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

#: The name of the tick, which is no row of the task table.
TICK = "oms.scheduling.tasks.tick"

#: A task's own function: it is given a `Run` and kwargs, and returns counts for the ledger.
TaskFunction = Callable[..., dict[str, Any] | None]


@dataclass(frozen=True)
class Operation:
    """A function that runs at the slots of a task. `name` is the task's path and its actor's name.

    `budget` is the time that a run may take before it stops at its next batch. `variables` names for a kwarg
    the setting that changes it.
    """

    name: str
    queue: str
    function: TaskFunction
    budget: timedelta
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
