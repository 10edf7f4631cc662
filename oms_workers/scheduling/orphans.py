"""Runs on which no process works any more: their worker is dead, or has abandoned them."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import Case, Value, fn

from oms_workers.scheduling import liveness
from oms_workers.scheduling.decision import MAX_INTERRUPTIONS
from oms_workers.scheduling.models import RunState, ScheduledRun, Trigger
from oms_workers.sets import among, columns_of, fetch, none_of

logger = logging.getLogger(__name__)


#: A living worker takes its lock again within a second or two, so one of so many looks sees it.
LOOKS = 10

#: A wait may end a little early by the clock that measures it.
_WHOLE_PAUSE = 0.9


class Orphan(NamedTuple):
    """A running row whose worker holds no lock."""

    id: int
    task: str
    slot: datetime
    attempts: int
    worker: str


def close_orphans(task: str | None, wait: Callable[[float], object]) -> int:
    """End the runs of dead workers, of one task or of all. A scheduled one may be tried again at once.

    `wait` is called with seconds, between two looks at the locks.
    """
    return sum(_close_orphan(orphan) for orphan in _find_orphans(task, wait))


def _find_orphans(task: str | None, wait: Callable[[float], object]) -> list[Orphan]:
    """The running rows of a task, or of all, whose worker is dead at each of several looks.

    A worker that loses its connection twice has its lock again in between, and is seen.
    """
    suspects = _find_suspects(task)
    pause = liveness.CONFIRMATION_SECONDS / LOOKS
    for _ in range(LOOKS):
        if not suspects:
            break
        asked_at = time.monotonic()
        wait(pause)
        if time.monotonic() - asked_at < pause * _WHOLE_PAUSE:
            # The wait was cut short because this process has to stop. Another process will check.
            return []
        dead = {(found.id, found.attempts) for found in _find_suspects(task)}
        suspects = [found for found in suspects if (found.id, found.attempts) in dead]
    return suspects


def _find_suspects(task: str | None) -> list[Orphan]:
    """The running rows, by their partial index, whose worker holds no lock, once the grace has passed."""
    grace = Value(timedelta(seconds=liveness.START_GRACE_SECONDS), converter=False)
    query = ScheduledRun.select(*columns_of(ScheduledRun, Orphan)).where(
        among(ScheduledRun.state, [RunState.RUNNING]),
        # A start in the future was one before the clock was set back, so it was long ago.
        (fn.clock_timestamp() > _started_at() + grace) | (fn.clock_timestamp() < _started_at()),
        ~liveness.holds_lock(ScheduledRun.worker),
    )
    return fetch(query if task is None else query.where(ScheduledRun.task == task), Orphan)


def _started_at() -> Any:
    """When PostgreSQL was started, by its own clock then."""
    return fn.pg_postmaster_start_time()


def _close_orphan(orphan: Orphan) -> int:
    closed: int = (
        _closing("worker died")
        .where(
            ScheduledRun.id == orphan.id,
            ScheduledRun.state == RunState.RUNNING,
            ScheduledRun.attempts == orphan.attempts,
            ~liveness.holds_lock(ScheduledRun.worker),
        )
        .execute()
    )
    if closed:
        logger.warning(
            "Worker %s died in slot %s of %s.", orphan.worker, orphan.slot.isoformat(), orphan.task
        )
    return closed


def close_abandoned(task: str, worker: str, at_work: Iterable[int]) -> int:
    """End the runs of a task that carry this living worker's id although it does not work on them.

    Such a row stays where a claim was committed and its answer was lost, or where its end could not be
    written. `at_work` are the ids of the rows that the worker works on. The slot may be tried again at once.
    """
    closed: int = (
        _closing("abandoned by its worker")
        .where(
            ScheduledRun.task == task,
            among(ScheduledRun.state, [RunState.RUNNING]),
            ScheduledRun.worker == worker,
            none_of(ScheduledRun.id, at_work),
        )
        .execute()
    )
    return closed


def _closing(error: str) -> Any:
    """The UPDATE that ends runs as failed, from outside.

    A scheduled one may be tried again at once, unless it was the last of `MAX_INTERRUPTIONS`.
    """
    interruptions = ScheduledRun.interruptions + 1
    may_be_tried = (ScheduledRun.trigger != Trigger.MANUAL) & (interruptions < MAX_INTERRUPTIONS)
    return ScheduledRun.update(
        state=RunState.FAILED,
        error=error,
        interruptions=interruptions,
        finished_at=fn.clock_timestamp(),
        next_attempt_at=Case(None, [(may_be_tried, fn.clock_timestamp())]),
    )
