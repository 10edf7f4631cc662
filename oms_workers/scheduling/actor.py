"""A scheduled operation: a plain function, and around it the claim, the end and nothing else.

@scheduled("oms.orders.tasks.get_orders_from_omnitron", queue="omnitron", budget=timedelta(minutes=5))
def get_orders_from_omnitron(run: Run) -> dict[str, int]:
    ...
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from dramatiq.middleware import CurrentMessage
from dramatiq.middleware.threading import Interrupt

from oms_workers.broker import Job, stopping
from oms_workers.database import UNREACHABLE, connection
from oms_workers.errors import OmsError
from oms_workers.scheduling import ledger, orphans, process
from oms_workers.scheduling.operation import Operation, Work
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task, task_of

logger = logging.getLogger(__name__)

#: What a run has after its budget to end its batch, before Dramatiq interrupts it.
TIME_LIMIT_MARGIN = timedelta(seconds=60)

#: How often the end of a run is offered to a PostgreSQL that does not answer.
_RECORD_PAUSE_SECONDS = 2.0


#: The rows that this process is at, by id, and the claims in progress, by task.
_at_work: set[int] = set()
_claiming: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class NoLivenessError(OmsError):
    """This process holds no lock by which the others would see it live."""


class AnotherRunLivesError(OmsError):
    """Another run of this task is at work; it has to end first."""


def scheduled(name: str, *, queue: str = "default", budget: timedelta) -> Callable[[Work], Operation]:
    """Make a function the operation `name`, whose messages only say that a slot may be due.

    `budget` is the time that a run may take before it stops at its next batch. The function is given a `Run`
    and the kwargs of its row in the task table, and returns counts for the ledger.
    """

    def decorate(work: Work) -> Operation:
        return Operation(name, queue, work, budget)

    return decorate


def job_of(operation: Operation) -> Job:
    """What a worker does when a message for the operation comes."""

    def perform() -> None:
        _perform(task_of(operation.name))

    perform.__doc__ = operation.work.__doc__
    options = {
        "queue_name": operation.queue,
        "time_limit": (operation.budget + TIME_LIMIT_MARGIN) / timedelta(milliseconds=1),
        "throws": (*UNREACHABLE, NoLivenessError),
    }
    return Job(operation.name, perform, options)


def send(task: Task, slot: datetime, trigger: str) -> None:
    """Tell the workers that a slot is due. Losing the message or sending it twice changes nothing."""
    task.actor.send_with_options(scheduled_at=slot.isoformat(), trigger=trigger)


def run_manually(task: Task) -> tuple[str, dict[str, Any] | None]:
    """Run the task now, in this process, on the ledger as `manual`; return its end and its result.

    Raises `AnotherRunLivesError`, and whatever the task raises, after the ledger has it.
    """
    attempt = _claim(
        task,
        lambda worker: ledger.claim_manually(task.path, worker=worker, wait=stopping.wait),
    )
    if attempt is None:
        raise AnotherRunLivesError(
            f"Another run of {task.name} is at work; wait for its end, or see `oms status`."
        )
    return _work(task, attempt, manual=True)


def _perform(task: Task) -> None:
    message = CurrentMessage.get_current_message()
    options = message.options if message else {}
    if "scheduled_at" not in options:
        run_manually(task)
        return
    plan = task.plan
    process.record_cadences()
    attempt = _claim(
        task,
        lambda worker: ledger.claim(
            plan,
            trigger=options.get("trigger", "periodiq"),
            worker=worker,
            wait=stopping.wait,
            message_slot=plan.cadence.latest(datetime.fromisoformat(options["scheduled_at"])),
        ),
    )
    if attempt is not None:
        _work(task, attempt, manual=False)


def _claim(task: Task, take: Callable[[str], ledger.Attempt | None]) -> ledger.Attempt | None:
    """Take the run, and remember that it is ours; raises `NoLivenessError` where nobody would see us live.

    Claims of one task follow one another in this process, so that a row of ours that nobody is at can be
    told from one that was taken a moment ago.
    """
    worker = process.worker()
    if not process.holds_lock():
        raise NoLivenessError(
            "This process has no liveness lock, so that others would take it for dead, and claims nothing;"
            " see whether PostgreSQL has a connection left for it."
        )
    with _claiming[task.path]:
        try:
            with connection():
                _close_abandoned(task.path, worker)
                attempt = take(worker)
                if attempt is not None:
                    _at_work.add(attempt.id)
                return attempt
        except BaseException:
            # The claim may be committed and its answer lost: a row that nobody is at must not stay `running`
            # beside a living worker, where no other process would dare to close it.
            _insist(lambda: _close_abandoned(task.path, worker))
            raise


def _close_abandoned(task: str, worker: str) -> None:
    if orphans.close_abandoned(task, worker, _at_work):
        logger.warning("A run of %s that this process had lost is closed.", task)


def _work(task: Task, attempt: ledger.Attempt, *, manual: bool) -> tuple[str, dict[str, Any] | None]:
    lateness = (attempt.started_at - attempt.slot).total_seconds()
    logger.info("%s started, %.2f s after its slot %s.", task.name, lateness, attempt.slot.isoformat())
    try:
        return _perform_attempt(task, attempt, manual=manual)
    finally:
        _at_work.discard(attempt.id)


def _perform_attempt(
    task: Task, attempt: ledger.Attempt, *, manual: bool
) -> tuple[str, dict[str, Any] | None]:
    operation = task.operation
    run = Run(attempt.started_at, budget=operation.budget, slot=attempt.slot, lost=process.lost)
    try:
        result = operation.work(run, **task.kwargs)
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
        logger.warning("%s failed in its slot %s: %s", task.name, attempt.slot.isoformat(), problem)
        _record(lambda: ledger.fail(attempt, problem, manual=manual), attempt)
        raise
    if run.stopped_by is None:
        _record(lambda: ledger.succeed(attempt, result), attempt)
        logger.info("%s is done: %s", task.name, result)
        return "succeeded", result
    why = run.stopped_by
    _record(lambda: ledger.stop_early(attempt, why, result, manual=manual), attempt)
    logger.info("%s %s; so far: %s", task.name, why, result)
    if not manual:
        send(task, attempt.slot, "tick")
    return "stopped", result


def _record(end: Callable[[], bool], attempt: ledger.Attempt) -> None:
    """Write the end of a run, however long PostgreSQL is away."""

    def write() -> None:
        try:
            end()
        except UNREACHABLE:
            raise
        except Exception as error:
            # What the run has left, its result or its error's text, cannot be written; this can.
            logger.exception("The end of slot %s of %s cannot be written.", attempt.slot, attempt.task)
            ledger.fail(attempt, f"its end could not be written: {type(error).__name__}")

    _insist(write)


def _insist(write: Callable[[], object]) -> None:
    """Write to the ledger when PostgreSQL is back, if it is away.

    A row must not stay `running` beside a living worker. If this process is told to stop meanwhile, its
    lock goes with it and the tick takes over.
    """
    while True:
        try:
            try:
                with connection():
                    write()
                return
            except UNREACHABLE as error:
                logger.warning("The ledger waits for PostgreSQL: %s", error)
            if stopping.wait(_RECORD_PAUSE_SECONDS):
                return
        except Interrupt:
            # The time limit came in the middle of it, and the run has ended anyway.
            continue
