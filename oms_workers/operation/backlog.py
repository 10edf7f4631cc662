"""What waits, per state, with the age of the oldest, and what nothing will pick up."""

from datetime import datetime
from typing import Any, NamedTuple

from oms_workers.backlog import Waiting, registered_waiting
from oms_workers.scheduling import table
from oms_workers.sets import fetch_one


class Count(NamedTuple):
    """How many wait in a state, and since when the oldest does."""

    waiting: int
    oldest: datetime | None


def backlog() -> list[dict[str, Any]]:
    """Per state: how many, since when, and why nothing will pick them up, if that is so."""
    enabled = {task.env_key for task in table.tasks() if task.enabled}
    return [_line(waiting, enabled) for waiting in registered_waiting()]


def _line(waiting: Waiting, enabled: set[str]) -> dict[str, Any]:
    found = fetch_one(waiting.query(), Count)
    assert found is not None, "a query of aggregates always has a row"
    return {
        "state": waiting.state,
        "count": found.waiting,
        "oldest": found.oldest,
        "stuck": _stuck(waiting, enabled) if found.waiting else None,
    }


def _stuck(waiting: Waiting, enabled: set[str]) -> str | None:
    if waiting.at_locations:
        return None
    if not waiting.env_keys:
        return "waits for a person"
    if enabled.intersection(waiting.env_keys):
        return None
    known = {task.env_key for task in table.tasks()}.intersection(waiting.env_keys)
    if known:
        return f"nothing picks these up: {' and '.join(sorted(known))} disabled"
    return "nothing in this release picks these up"
