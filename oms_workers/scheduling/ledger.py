"""The ledger: one row for each slot of a task, or for each range of slots that were skipped together.

The row is the claim. A claim accounts, in one transaction, for every slot up to the one it takes. Missed
slots become one `coalesced` row, so that the ledger of a task never has a hole. Claims of one task
follow one another by a lock. A unique index makes sure that a task has one running row only.

    claim ─▶ running ─▶ succeeded
                  ├───▶ failed      tried again at next_attempt_at, while it is the newest slot
                  └───▶ failed      "worker died", written by another process
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from oms_workers.database import database_now, transaction
from oms_workers.scheduling import accounting, clocks, known_cadences, runs
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.decision import Verdict, retry_at
from oms_workers.scheduling.models import RunState, SkipReason, Trigger
from oms_workers.scheduling.orphans import close_orphans
from oms_workers.scheduling.runs import Attempt, Ending, LastRun

logger = logging.getLogger(__name__)

#: The clock rounds its time to the nearest second, and the clocks of two machines differ a little.
CLOCK_SKEW = timedelta(seconds=5)

#: An error's text in the ledger; the whole of it is in the log.
MAX_ERROR_CHARACTERS = 2_000


def is_due(plan: TaskPlan) -> datetime | None:
    """The slot for which a message has to be sent now, if there is one: missed, or to be tried again."""
    known = known_cadences.find(plan)
    if known is None or not (plan.enabled and known.enabled) or not clocks.agree(known.now):
        return None
    decision, _ = accounting.judge(
        plan.task, known.cadence, known.since, enabled=True, now=known.now, catch_up=plan.catch_up
    )
    return None if decision.verdict is Verdict.NOTHING else decision.slot


def claim(
    plan: TaskPlan,
    *,
    trigger: Trigger,
    worker: str,
    wait: Callable[[float], object],
    message_slot: datetime | None = None,
) -> Attempt | None:
    """Take the newest due slot of a task and account for every older one; None where there is nothing to run.

    Slots are those of the cadence in effect, which may be another one than the plan's. A process whose plan
    disables the task leaves an enabled one to the others. While the clocks differ, nothing is taken.

    `message_slot` is the slot for which the message was sent. It may lie a moment ahead of PostgreSQL's
    clock. `wait` is called with seconds, before a worker is declared dead.
    """
    if not clocks.agree(database_now()):
        return None
    close_orphans(plan.task, wait)
    with transaction():
        return _claim(plan, trigger, worker, message_slot)


def _claim(plan: TaskPlan, trigger: Trigger, worker: str, message_slot: datetime | None) -> Attempt | None:
    known = known_cadences.lock(plan)
    if known is None or (known.enabled and not plan.enabled):
        return None
    now = known.now
    if message_slot is not None and now < message_slot <= now + CLOCK_SKEW:
        now = message_slot
    decision, covering = accounting.judge(
        plan.task, known.cadence, known.since, enabled=known.enabled, now=now, catch_up=plan.catch_up
    )
    if decision.slot is None or decision.verdict is Verdict.NOTHING:
        return None
    if covering is not None:
        return runs.start_again(covering, worker)
    if decision.verdict is not Verdict.RUN:
        reason = SkipReason(decision.verdict.value)
        accounting.skip_with_older(plan.task, known.cadence, decision.slot, known.since, trigger, reason)
        return None
    missed = accounting.missed_before(plan.task, known.cadence, decision.slot, known.since)
    if missed is not None:
        runs.skip(plan.task, missed.last, trigger, SkipReason.COALESCED, missed.first, missed.slots)
    return _start(plan.task, decision.slot, trigger, worker)


def claim_manually(task: str, *, worker: str, wait: Callable[[float], object]) -> Attempt | None:
    """Take the task now, outside its schedule; None while another run of it is running.

    Raises `ClocksDifferError`.
    """
    clocks.require_agreement(database_now())
    close_orphans(task, wait)
    return runs.start(task, None, Trigger.MANUAL, worker)


def _start(task: str, slot: datetime, trigger: Trigger, worker: str) -> Attempt | None:
    attempt = runs.start(task, slot, trigger, worker)
    if attempt is None and runs.has_living_run(task):
        logger.info("Slot %s of %s is skipped: another run is still running.", slot.isoformat(), task)
        runs.skip(task, slot, trigger, SkipReason.OVERLAP, slot, 1)
    return attempt


def succeed(attempt: Attempt, result: dict[str, Any] | None) -> bool:
    """End the run well; False where another attempt has taken the row over and will write its end."""
    return _end(attempt, Ending(RunState.SUCCEEDED, result, None, None, attempt.attempts))


def fail(attempt: Attempt, error: str, *, result: dict[str, Any] | None = None) -> bool:
    """End the run as failed. It is tried again after a while, unless it was the last attempt or manual."""
    now = database_now()
    again = None if attempt.manual else retry_at(attempt.attempts - attempt.interruptions, now)
    return _end(attempt, Ending(RunState.FAILED, result, _stored(error), again, attempt.attempts))


def stop_early(attempt: Attempt, why: str, result: dict[str, Any] | None) -> bool:
    """End the run at a batch's end, before its work is done. It is free at once; no attempt is charged."""
    again = None if attempt.manual else database_now()
    return _end(attempt, Ending(RunState.FAILED, result, _stored(why), again, attempt.attempts - 1))


def _end(attempt: Attempt, ending: Ending) -> bool:
    ended = runs.end(attempt, ending)
    if not ended:
        logger.warning(
            "Attempt %s of slot %s of %s no longer owns its row; its end is not recorded.",
            attempt.attempts,
            attempt.slot.isoformat(),
            attempt.task,
        )
    return ended


def _stored(error: str) -> str:
    """The text cut to what is kept, without what PostgreSQL refuses: NUL, and halves of surrogate pairs."""
    return error.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_ERROR_CHARACTERS]


def last_run(task: str) -> LastRun | None:
    """The task's running row, or else its newest row that says something about itself.

    A slot skipped as `overlap` or `coalesced` only says something about the run beside it.
    """
    return runs.running(task) or runs.newest_of_its_own(task)
