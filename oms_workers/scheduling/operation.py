"""What a scheduled operation is, before any broker knows of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

Work = Callable[..., dict[str, Any] | None]


@dataclass(frozen=True)
class Operation:
    """A function that is run at the slots of a task; `name` is the task's path, and its actor's name.

    `budget` is the time that a run may take before it stops at its next batch.
    """

    name: str
    queue: str
    work: Work
    budget: timedelta
