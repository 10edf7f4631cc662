"""What waits, per state, with the age of the oldest, and what nothing will pick up."""

from datetime import datetime
from typing import Any


def backlog(now: datetime) -> list[dict[str, Any]]:  # noqa: ARG001
    return []
