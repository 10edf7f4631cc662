"""The ledger: one row for each slot of a task, or for each range of slots that were skipped together.

The row is the claim. A claim accounts, in one transaction, for everything up to the slot it takes: slots
that nobody came for become one `coalesced` row, so that the ledger of a task never has a hole. It is made
under the lock of the task's row in `scheduled_tasks`; that the run is the only one of its task is held by
a unique index, whoever claims it.

    claim ─▶ running ─▶ succeeded
                  ├───▶ failed      tried again at next_attempt_at, while it is the newest slot
                  └───▶ failed      "worker died", written by others
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import IntegrityError

from oms_workers.database import database_now, execute, jsonb, row, transaction
from oms_workers.scheduling.decision import Verdict, decide, newest_slot, retry_at
from oms_workers.scheduling.known_cadences import TaskPlan, record
from oms_workers.scheduling.liveness import HOLDS_LOCK
from oms_workers.scheduling.orphans import close_orphans

logger = logging.getLogger(__name__)

#: The clock rounds its time to the nearest second, and no two machines agree to the millisecond.
CLOCK_SKEW = timedelta(seconds=5)

#: An error's text in the ledger; the whole of it is in the log.
MAX_ERROR_CHARACTERS = 2_000


@dataclass(frozen=True)
class Attempt:
    """A running row and the right to end it: `attempts` is the fence against those who came before."""

    id: int
    task: str
    slot: datetime
    attempts: int
    worker: str
    started_at: datetime


def is_due(plan: TaskPlan) -> datetime | None:
    """The slot for which a message has to be sent now, if there is one: missed, or to be tried again."""
    known = row(
        """
        SELECT since, enabled, clock_timestamp() AS now
        FROM scheduled_tasks
        WHERE task = %s AND cadence = %s
        """,
        (plan.task, str(plan.cadence)),
    )
    if known is None or not (plan.enabled and known.enabled):
        return None
    slot = newest_slot(plan.cadence, known.since, known.now)
    decision = decide(
        plan.cadence,
        known.since,
        enabled=True,
        row=_row_covering(plan.task, slot) if slot else None,
        now=known.now,
        catch_up=plan.catch_up,
    )
    return None if decision.verdict is Verdict.NOTHING else decision.slot


def claim(
    plan: TaskPlan,
    *,
    trigger: str,
    worker: str,
    wait: Callable[[float], object],
    message_slot: datetime | None = None,
) -> Attempt | None:
    """Take the newest due slot of a task and account for every older one; None where there is nothing to run.

    `message_slot` is the slot that the message was sent for, which may lie a moment ahead of PostgreSQL's
    clock. `wait` is called with seconds before somebody is declared dead.
    """
    close_orphans(plan.task, wait)
    with transaction():
        return _claim(plan, trigger, worker, message_slot)


def _claim(plan: TaskPlan, trigger: str, worker: str, message_slot: datetime | None) -> Attempt | None:
    known = _lock_cadence(plan)
    now = known.now
    if message_slot is not None and now < message_slot <= now + CLOCK_SKEW:
        now = message_slot
    slot = newest_slot(plan.cadence, known.since, now)
    covering = _row_covering(plan.task, slot) if slot else None
    decision = decide(
        plan.cadence,
        known.since,
        enabled=plan.enabled and known.enabled,
        row=covering,
        now=now,
        catch_up=plan.catch_up,
    )
    if decision.slot is None or decision.verdict is Verdict.NOTHING:
        return None
    if covering is not None:
        return _run_again(covering, worker)
    first, missed = _missed(plan, decision.slot, known.since)
    if decision.verdict is not Verdict.RUN:
        _skip(plan.task, decision.slot, trigger, decision.verdict.value, first or decision.slot, missed + 1)
        return None
    if first is not None:
        last = plan.cadence.latest(decision.slot - timedelta(microseconds=1))
        _skip(plan.task, last, trigger, "coalesced", first, missed)
    return _run(plan.task, decision.slot, trigger, worker)


def claim_manually(task: str, *, worker: str, wait: Callable[[float], object]) -> Attempt | None:
    """Take the task now, outside its schedule; None while another run of it lives."""
    close_orphans(task, wait)
    return _insert_running(task, None, "manual", worker)


def _lock_cadence(plan: TaskPlan) -> Any:
    """The task's row in `scheduled_tasks`, locked: claims of one cadence follow one another."""
    query = """
        SELECT since, enabled, clock_timestamp() AS now
        FROM scheduled_tasks
        WHERE task = %s AND cadence = %s
        FOR NO KEY UPDATE
    """
    known = row(query, (plan.task, str(plan.cadence)))
    if known is None:
        record([plan])
        known = row(query, (plan.task, str(plan.cadence)))
    # The time is taken after the lock: somebody may have held it for a while.
    return known._replace(now=database_now()) if known else None


def _row_covering(task: str, slot: datetime) -> Any | None:
    """The row that accounts for the slot, alone or as one of a range."""
    found = row(
        """
        SELECT id, task, slot, first_slot, state, attempts, next_attempt_at
        FROM scheduled_runs
        WHERE task = %s AND slot >= %s AND trigger <> 'manual'
        ORDER BY slot
        LIMIT 1
        """,
        (task, slot),
    )
    return found if found is not None and found.first_slot <= slot else None


def _missed(plan: TaskPlan, slot: datetime, since: datetime) -> tuple[datetime | None, int]:
    """The first slot before `slot` that nothing accounts for, and how many there are."""
    before = row(
        "SELECT max(slot) AS slot FROM scheduled_runs WHERE task = %s AND slot < %s AND trigger <> 'manual'",
        (plan.task, slot),
    )
    moment = timedelta(microseconds=1)
    after = since - moment if before is None or before.slot is None else max(before.slot, since - moment)
    first = plan.cadence.next(after)
    return (first, plan.cadence.count(first, slot - moment)) if first < slot else (None, 0)


def _run(task: str, slot: datetime, trigger: str, worker: str) -> Attempt | None:
    attempt = _insert_running(task, slot, trigger, worker)
    if attempt is None and _is_running(task):
        logger.info("Slot %s of %s is skipped: the run before it is still at work.", slot.isoformat(), task)
        _skip(task, slot, trigger, "overlap", slot, 1)
    return attempt


def _is_running(task: str) -> bool:
    """Whether a run of the task lives. A row whose worker may be dead says nothing; the tick will know."""
    query = f"""
        SELECT id
        FROM scheduled_runs
        WHERE task = %s AND state = 'running' AND {HOLDS_LOCK.format(worker="scheduled_runs.worker")}
    """
    return row(query, (task,)) is not None


def _insert_running(task: str, slot: datetime | None, trigger: str, worker: str) -> Attempt | None:
    """A new running row, unless another run of the task lives. A manual run's slot is its start."""
    inserted = row(
        """
        INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger, attempts, started_at, worker)
        SELECT %(task)s, coalesce(%(slot)s, now), coalesce(%(slot)s, now), 'running', %(trigger)s, 1, now,
               %(worker)s
        FROM clock_timestamp() AS now
        ON CONFLICT DO NOTHING
        RETURNING id, task, slot, attempts, worker, started_at
        """,
        {"task": task, "slot": slot, "trigger": trigger, "worker": worker},
    )
    return Attempt(*inserted) if inserted else None


def _run_again(failed: Any, worker: str) -> Attempt | None:
    """The failed row as a running one, unless another run of the task lives or took it first."""
    try:
        with transaction():
            updated = row(
                """
                UPDATE scheduled_runs
                SET state = 'running', attempts = attempts + 1, next_attempt_at = NULL, error = NULL,
                    started_at = clock_timestamp(), finished_at = NULL, worker = %(worker)s
                WHERE id = %(id)s AND state = 'failed' AND attempts = %(attempts)s
                RETURNING id, task, slot, attempts, worker, started_at
                """,
                {"id": failed.id, "attempts": failed.attempts, "worker": worker},
            )
    except IntegrityError:
        return None
    return Attempt(*updated) if updated else None


def _skip(task: str, slot: datetime, trigger: str, reason: str, first: datetime, slots: int) -> None:
    execute(
        """
        INSERT INTO scheduled_runs
            (task, slot, first_slot, slots, state, reason, trigger, finished_at, result)
        VALUES
            (%(task)s, %(slot)s, %(first)s, %(slots)s, 'skipped', %(reason)s, %(trigger)s, clock_timestamp(),
             %(result)s)
        ON CONFLICT DO NOTHING
        """,
        {
            "task": task,
            "slot": slot,
            "first": first,
            "slots": slots,
            "reason": reason,
            "trigger": trigger,
            "result": jsonb({"slots": slots, "first": first.isoformat(), "last": slot.isoformat()}),
        },
    )


def succeed(attempt: Attempt, result: dict[str, Any] | None) -> bool:
    """End the run well; False where the row was taken over, and the end is somebody else's to write."""
    return _end(attempt, "succeeded", result, None, None, attempt.attempts)


def fail(attempt: Attempt, error: str, *, result: dict[str, Any] | None = None, manual: bool = False) -> bool:
    """End the run as failed, to be tried again after a while unless it was the last attempt or manual."""
    now = database_now()
    again = None if manual else retry_at(attempt.attempts, now)
    return _end(attempt, "failed", result, error, again, attempt.attempts)


def stop_early(attempt: Attempt, why: str, result: dict[str, Any] | None, *, manual: bool = False) -> bool:
    """End the run before its work is done, at a batch's end: it is free at once and no attempt is charged."""
    now = database_now()
    again = None if manual else now
    return _end(attempt, "failed", result, why, again, attempt.attempts - 1)


def _end(
    attempt: Attempt,
    state: str,
    result: dict[str, Any] | None,
    error: str | None,
    next_attempt_at: datetime | None,
    attempts: int,
) -> bool:
    changed = execute(
        """
        UPDATE scheduled_runs
        SET state = %(state)s, finished_at = clock_timestamp(), result = %(result)s, error = %(error)s,
            next_attempt_at = %(next_attempt_at)s, attempts = %(charged)s
        WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s AND worker = %(worker)s
          -- A released attempt's number is given out again; its start is not.
          AND started_at = %(started_at)s
        """,
        {
            "started_at": attempt.started_at,
            "id": attempt.id,
            "attempts": attempt.attempts,
            "worker": attempt.worker,
            "state": state,
            "result": None if result is None else jsonb(result),
            "error": None if error is None else _storable(error)[:MAX_ERROR_CHARACTERS],
            "next_attempt_at": next_attempt_at,
            "charged": attempts,
        },
    )
    if not changed:
        logger.warning(
            "Attempt %s of slot %s of %s had been given up; its end is not recorded.",
            attempt.attempts,
            attempt.slot.isoformat(),
            attempt.task,
        )
    return changed == 1


def _storable(error: str) -> str:
    """The text without what PostgreSQL refuses: NUL, and halves of surrogate pairs."""
    return error.replace("\0", "").encode("utf-8", "replace").decode()


def last_run(task: str) -> Any | None:
    """The run that is at work, or else the newest that is not just the shadow of another one.

    A slot skipped as `overlap` or `coalesced` says something of the run beside it only.
    """
    columns = "slot, state, reason, trigger, attempts, started_at, finished_at, result, error, worker"
    return row(f"SELECT {columns} FROM scheduled_runs WHERE task = %s AND state = 'running'", (task,)) or row(
        f"""
        SELECT {columns}
        FROM scheduled_runs
        WHERE task = %s AND coalesce(reason, '') NOT IN ('overlap', 'coalesced')
        ORDER BY slot DESC
        LIMIT 1
        """,
        (task,),
    )
