"""A task whose slots are weekly, so that none comes due in the middle of a test."""

from datetime import datetime, timedelta
from typing import Any

from oms_workers.configuration.cadence import Interval
from oms_workers.database import database_now, execute, rows
from oms_workers.scheduling import known_cadences, ledger
from oms_workers.scheduling.configurations import TaskPlan

TASK = "oms.tests.tasks.sweep"
WEEK = timedelta(weeks=1)
WEEKLY = Interval(int(WEEK.total_seconds()))
DEAD = "elsewhere/1/00000000"
PLAN = TaskPlan(TASK, WEEKLY, enabled=True, catch_up=8 * WEEK)


def no_wait(seconds: float) -> None:
    """Whoever is dead now will not come back."""


def claim(worker: str, plan: TaskPlan = PLAN, **changes: Any) -> ledger.Attempt | None:
    return ledger.claim(plan, **{"trigger": "tick", "worker": worker, "wait": no_wait, **changes})


def known_for(weeks: int, plan: TaskPlan = PLAN) -> datetime:
    """Let the cadence be so many slots old, the newest of which is returned."""
    known_cadences.record([plan])
    newest = plan.cadence.latest(database_now())
    execute("UPDATE scheduled_tasks SET since = %s", (newest - (weeks - 1) * WEEK,))
    return newest


def a_row(slot: datetime, state: str, *, worker: str | None = None, **columns: Any) -> int:
    values = {
        "task": TASK,
        "slot": slot,
        "first_slot": slot,
        "state": state,
        "trigger": "periodiq",
        "attempts": 1,
        "started_at": slot,
        "worker": worker,
        **columns,
    }
    (inserted,) = rows(
        f"""
        INSERT INTO scheduled_runs ({", ".join(values)})
        VALUES ({", ".join(f"%({name})s" for name in values)})
        RETURNING id
        """,
        values,
    )
    return inserted.id


def table() -> list[tuple[Any, ...]]:
    """Each row of the ledger: slot, slots, state, reason, attempts."""
    return [
        tuple(row)
        for row in rows("SELECT slot, slots, state, reason, attempts FROM scheduled_runs ORDER BY slot, id")
    ]
