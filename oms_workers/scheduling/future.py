"""What was written while PostgreSQL's clock was ahead, and now lies in the future.

A row of the ledger with a slot in the future would account for that slot when it comes. A cadence that counts
only from the future has no slots until then.
"""

import logging
from datetime import datetime
from typing import NamedTuple

from peewee import fn

from oms_workers.database import database_now
from oms_workers.scheduling import clocks
from oms_workers.scheduling.models import RunState, ScheduledRun, ScheduledTask, TaskConfiguration, Trigger
from oms_workers.sets import fetch

logger = logging.getLogger(__name__)


class FutureRows(NamedTuple):
    """The rows of a task whose slots lie in the future: how many, and the newest slot."""

    task: str
    rows: int
    until: datetime


class FutureCadence(NamedTuple):
    """A task whose cadence counts only from a moment in the future."""

    task: str
    since: datetime


class _Forgotten(NamedTuple):
    """A row that was deleted."""

    task: str
    first_slot: datetime
    slot: datetime
    state: RunState


def find_rows(now: datetime) -> list[FutureRows]:
    """The tasks with rows in the future, by the index on slot. Manual runs account for no slot."""
    query = (
        ScheduledRun.select(
            ScheduledRun.task,
            fn.COUNT(ScheduledRun.id).alias("rows"),
            fn.MAX(ScheduledRun.slot).alias("until"),
        )
        .where(ScheduledRun.slot > now + clocks.MOST_DIFFERENCE, ScheduledRun.trigger != Trigger.MANUAL)
        .group_by(ScheduledRun.task)
        .order_by(ScheduledRun.task)
    )
    return fetch(query, FutureRows)


def find_cadences(now: datetime) -> list[FutureCadence]:
    """The cadences that count only from the future."""
    query = (
        ScheduledTask.select(ScheduledTask.task, ScheduledTask.since)
        .where(ScheduledTask.since > now + clocks.MOST_DIFFERENCE)
        .order_by(ScheduledTask.task)
    )
    return fetch(query, FutureCadence)


def put_right() -> None:
    """Delete the rows in the future, so that their slots are run when they come, and let cadences count.

    Nothing is done while the clocks differ, since then the future is not known. A row whose run is at work is
    deleted after its end.
    """
    now = database_now()
    if not clocks.agree(now):
        return
    _forget_rows(now)
    _let_count(now)


def _forget_rows(now: datetime) -> None:
    forgotten = (
        ScheduledRun.delete()
        .where(
            ScheduledRun.slot > now + clocks.MOST_DIFFERENCE,
            ScheduledRun.trigger != Trigger.MANUAL,
            ScheduledRun.state != RunState.RUNNING,
        )
        .returning(ScheduledRun.task, ScheduledRun.first_slot, ScheduledRun.slot, ScheduledRun.state)
    )
    for row in fetch(forgotten, _Forgotten):
        logger.warning(
            "The row of %s from %s to %s, %s, was written by a clock that was ahead; it is deleted.",
            row.task,
            row.first_slot.isoformat(),
            row.slot.isoformat(),
            row.state,
        )


def _let_count(now: datetime) -> None:
    ahead = now + clocks.MOST_DIFFERENCE
    ScheduledTask.update(since=now).where(ScheduledTask.since > ahead).execute()
    ScheduledTask.update(last_seen=now).where(ScheduledTask.last_seen > ahead).execute()
    TaskConfiguration.update(last_seen=now).where(TaskConfiguration.last_seen > ahead).execute()
    TaskConfiguration.update(alone_since=now).where(TaskConfiguration.alone_since > ahead).execute()
