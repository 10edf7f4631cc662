"""What a scheduled operation is. No broker is needed to make one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

#: A task's own function: it is given a `Run` and kwargs, and returns counts for the ledger.
TaskFunction = Callable[..., dict[str, Any] | None]


@dataclass(frozen=True)
class Operation:
    """A function that runs at the slots of a task. `name` is the task's path and its actor's name.

    `budget` is the time that a run may take before it stops at its next batch.
    """

    name: str
    queue: str
    function: TaskFunction
    budget: timedelta
