"""Runs that nobody is at any more: their worker is dead, or has lost sight of them."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from oms_workers.database import execute
from oms_workers.scheduling.decision import MAX_ATTEMPTS
from oms_workers.scheduling.liveness import HOLDS_LOCK, find_orphans

logger = logging.getLogger(__name__)


def close_orphans(task: str | None, wait: Callable[[float], object]) -> int:
    """End the runs of dead workers, of one task or of all; a scheduled one may be tried again at once."""
    return sum(_close_orphan(orphan) for orphan in find_orphans(task, wait))


def _close_orphan(orphan: Any) -> int:
    closed = execute(
        f"""
        UPDATE scheduled_runs
        SET state = 'failed', error = 'worker died', finished_at = clock_timestamp(),
            next_attempt_at = CASE
                WHEN trigger <> 'manual' AND attempts < %(max_attempts)s THEN clock_timestamp()
            END
        WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s
          AND NOT {HOLDS_LOCK.format(worker="scheduled_runs.worker")}
        """,
        {"id": orphan.id, "attempts": orphan.attempts, "max_attempts": MAX_ATTEMPTS},
    )
    if closed:
        logger.warning(
            "Worker %s died in slot %s of %s.", orphan.worker, orphan.slot.isoformat(), orphan.task
        )
    return closed


def close_abandoned(task: str, worker: str, at_work: Iterable[int]) -> int:
    """End this living worker's own runs of a task that it knows nothing of; the slot may be tried at once.

    Such a row stays behind where a claim was committed and its answer was lost, or its end could not be
    written. `at_work` are the ids of the rows that the worker is really at.
    """
    return execute(
        """
        UPDATE scheduled_runs
        SET state = 'failed', error = 'abandoned by its worker', finished_at = clock_timestamp(),
            next_attempt_at = CASE
                WHEN trigger <> 'manual' AND attempts < %(max_attempts)s THEN clock_timestamp()
            END
        WHERE task = %(task)s AND state = 'running' AND worker = %(worker)s AND id <> ALL(%(at_work)s)
        """,
        {"task": task, "worker": worker, "at_work": [*at_work], "max_attempts": MAX_ATTEMPTS},
    )
