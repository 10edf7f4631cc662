"""How long the ledger remembers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from peewee import fn

from oms_workers.retention import Kept, Retention, oldest_of_enough, remove_batch
from oms_workers.scheduling.liveness import holds_lock
from oms_workers.scheduling.models import (
    RunState,
    ScheduledRun,
    ScheduledTask,
    TaskConfiguration,
    Trigger,
    Worker,
)
from oms_workers.scheduling.operation import TICK

#: A tick must not take long, and there is one each minute.
PRUNE_BATCH = 1_000


def _is_no_newest() -> Sequence[Any]:
    """A task's newest run says whether it ever ran, and what it was the last time."""
    newer = ScheduledRun.alias("newer")
    a_newer_one = newer.select(newer.id).where(
        newer.task == ScheduledRun.task,
        newer.slot > ScheduledRun.slot,
        (ScheduledRun.trigger == Trigger.MANUAL) | (newer.trigger != Trigger.MANUAL),
    )
    return (ScheduledRun.state != RunState.RUNNING, fn.EXISTS(a_newer_one))


RUNS = Retention(
    model=ScheduledRun,
    what="runs that have ended, but for the newest of each task",
    moment=ScheduledRun.slot,
    days="scheduled_runs_days",
    most="scheduled_runs_max_rows",
    task=TICK,
    may_go=_is_no_newest,
)

WORKERS = Retention(
    model=Worker,
    what="workers that live no more",
    moment=Worker.started_at,
    days="scheduled_runs_days",
    most="scheduled_runs_max_rows",
    task=TICK,
    may_go=lambda: (~holds_lock(Worker.id),),
)

REMOVED_BY_TICK = (RUNS, WORKERS)

RETENTIONS = (
    *REMOVED_BY_TICK,
    Kept(ScheduledTask, "One row for each cadence that a task ever had."),
    Kept(TaskConfiguration, "One row for each cadence and switch that a process was given for a task."),
)


def prune(limit: Retention, now: datetime) -> int:
    """Delete a batch of the rows that are too old, or too many; return how many."""
    removed = remove_batch(limit, now - limit.age, None, PRUNE_BATCH)
    if removed.table_rows <= limit.most_rows:
        return removed.rows
    enough = oldest_of_enough(limit)
    surplus = 0 if enough is None else remove_batch(limit, enough, None, PRUNE_BATCH).rows
    return removed.rows + surplus
