"""A scheduled operation: a plain function. Around it are the claim of a run and the record of its end.

@scheduled("oms.orders.tasks.get_orders_from_omnitron", queue="omnitron", budget=timedelta(minutes=5))
def get_orders_from_omnitron(run: Run) -> dict[str, int]:
    ...
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from dramatiq.middleware import CurrentMessage
from dramatiq.middleware.threading import Interrupt

from oms_workers.broker import Job, stopping
from oms_workers.database import UNREACHABLE, abandon_connection, connection, database, passes
from oms_workers.errors import OmsError
from oms_workers.retention import registered_retentions, remove_old_rows
from oms_workers.scheduling import ledger, orphans, process
from oms_workers.scheduling.at_work import AT_WORK
from oms_workers.scheduling.models import Trigger
from oms_workers.scheduling.operation import Operation, TaskFunction
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.runs import Attempt
from oms_workers.scheduling.table import Task, find

logger = logging.getLogger(__name__)

#: After its budget a run has so long to end its batch. Then Dramatiq interrupts it.
TIME_LIMIT_MARGIN = timedelta(seconds=60)

#: The pause between two tries to write the end of a run while PostgreSQL does not answer.
_RECORD_PAUSE_SECONDS = 2.0

#: Why a claim is given back: the row's earlier attempt was taken over, and has not stopped yet.
STILL_AT_WORK = "this worker still works on a run of the task that was taken over"

#: One lock a task: in this process the claims of one task follow one another.
_claiming: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class NoLivenessError(OmsError):
    """This process does not hold its liveness lock, so other processes take it for dead."""


class AnotherRunLivesError(OmsError):
    """Another run of this task is running. It has to end first."""


def scheduled(
    name: str, *, queue: str = "default", budget: timedelta, variables: Mapping[str, str] | None = None
) -> Callable[[TaskFunction], Operation]:
    """Make a function the operation `name`. Its messages only say that a slot may be due.

    When a run has taken its `budget`, it stops at its next batch. The function is given a `Run` and the
    kwargs of its row in the task table, and returns counts for the ledger. `variables` names the settings
    that change kwargs. When the function is done, the run removes old rows of the tables that the task owns.
    """

    def decorate(function: TaskFunction) -> Operation:
        return Operation(name, queue, function, budget, variables or {})

    return decorate


def job_of(operation: Operation) -> Job:
    """What a worker does when a message for the operation comes."""

    def on_message() -> None:
        _handle_message(find(operation.name))

    on_message.__doc__ = operation.function.__doc__
    options = {
        "queue_name": operation.queue,
        "time_limit": (operation.budget + TIME_LIMIT_MARGIN) / timedelta(milliseconds=1),
        "throws": (*UNREACHABLE, NoLivenessError),
    }
    return Job(operation.name, on_message, options)


def send(task: Task, slot: datetime, trigger: Trigger) -> None:
    """Tell the workers that a slot is due. A message that is lost or sent twice changes nothing."""
    task.actor.send_with_options(scheduled_at=slot.isoformat(), trigger=trigger)


def run_manually(task: Task, **arguments: Any) -> tuple[str, dict[str, Any] | None]:
    """Run the task now, in this process, recorded as `manual`. Returns how it ended and its result.

    `arguments` are kwargs that are other than the table and the settings say, for this run.
    Raises `AnotherRunLivesError`. What the task raises is recorded in the ledger and raised again.
    """
    attempt = _claim(
        task,
        lambda worker: ledger.claim_manually(task.path, worker=worker, wait=stopping.wait),
    )
    if attempt is None:
        raise AnotherRunLivesError(
            f"Another run of {task.name} is at work; wait for its end, or see `oms status`."
        )
    return _run_attempt(task, attempt, {**task.arguments, **arguments})


def _handle_message(task: Task) -> None:
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
            trigger=Trigger(options.get("trigger", Trigger.PERIODIQ)),
            worker=worker,
            wait=stopping.wait,
            message_slot=plan.cadence.latest(datetime.fromisoformat(options["scheduled_at"])),
        ),
    )
    if attempt is not None:
        _run_attempt(task, attempt, task.arguments)


def _claim(task: Task, take: Callable[[str], Attempt | None]) -> Attempt | None:
    """Claim a run with `take`, and remember that this process works on it.

    A row may carry our id although no thread works on it: such a row was abandoned. The lock for each task
    tells it from a row that another thread has just claimed. Nor may a thread still work on an earlier run
    of the task, which was taken over: its row is free at once. Raises `NoLivenessError`.
    """
    worker = process.worker()
    if not process.holds_lock():
        raise NoLivenessError(
            "This process has no liveness lock, so other processes take it for dead and it claims nothing;"
            " check that PostgreSQL has a free connection for it."
        )
    with _claiming[task.path]:
        try:
            with connection():
                _close_abandoned(task.path, worker)
                attempt = take(worker)
                if attempt is None:
                    return None
                if earlier := AT_WORK.working_on(task.path):
                    AT_WORK.lose(earlier)
                    ledger.stop_early(attempt, STILL_AT_WORK, None)
                    logger.warning("%s is not run: %s.", task.name, STILL_AT_WORK)
                    return None
                AT_WORK.begin(attempt)
                return attempt
        except BaseException:
            # The claim may be committed although its answer was lost. No other process closes a `running`
            # row whose worker lives, so this process has to close it.
            _insist(lambda: _close_abandoned(task.path, worker))
            raise


def _close_abandoned(task: str, worker: str) -> None:
    if orphans.close_abandoned(task, worker, {attempt.id for attempt in AT_WORK.held()}):
        logger.warning("A run of %s, which this process had abandoned, is closed.", task)


def _run_attempt(
    task: Task, attempt: Attempt, arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any] | None]:
    lateness = (attempt.started_at - attempt.slot).total_seconds()
    logger.info("%s started, %.2f s after its slot %s.", task.name, lateness, attempt.slot.isoformat())
    try:
        return _call_and_record(task, attempt, arguments)
    finally:
        AT_WORK.end(attempt)


def _call_and_record(
    task: Task, attempt: Attempt, arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any] | None]:
    """Call the task's own function, and record in the ledger how the run ended."""
    operation = task.operation
    run = Run(
        attempt.started_at,
        budget=operation.budget,
        slot=attempt.slot,
        lost=process.lost,
        taken=lambda: AT_WORK.is_taken(attempt),
    )
    try:
        result = _call(operation.function, run, arguments, attempt)
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
        logger.warning("%s failed in its slot %s: %s", task.name, attempt.slot.isoformat(), problem)
        _record(lambda: ledger.fail(attempt, problem), attempt)
        raise
    if run.stopped_by is None:
        _record(lambda: ledger.succeed(attempt, result), attempt)
        logger.info("%s is done: %s", task.name, result)
        return "succeeded", result
    why = run.stopped_by
    _record(lambda: ledger.stop_early(attempt, why, result), attempt)
    logger.info("%s %s; so far: %s", task.name, why, result)
    if not attempt.manual:
        send(task, attempt.slot, Trigger.TICK)
    return "stopped", result


def _call(
    function: TaskFunction, run: Run, kwargs: Mapping[str, Any], attempt: Attempt
) -> dict[str, Any] | None:
    """What the function returns, and how many old rows were removed after it.

    A connection that it has left open is closed, before the end is recorded.
    """
    was_closed = database.is_closed()
    try:
        result = function(run, **kwargs)
        return _and_removed(result, run, attempt.task)
    finally:
        AT_WORK.returned(attempt)
        if was_closed:
            abandon_connection()


def _and_removed(result: dict[str, Any] | None, run: Run, task: str) -> dict[str, Any] | None:
    """Remove the old rows that the task sees to, within the same budget, and count those that there were."""
    if run.stopped_by is not None or not any(limit.task == task for limit in registered_retentions()):
        return result
    with connection():
        removed = remove_old_rows(task, run.now, should_stop=run.should_stop)
    counted = {name: rows for name, rows in removed.items() if rows}
    return {**(result or {}), **counted} if counted else result


def _record(end: Callable[[], bool], attempt: Attempt) -> None:
    """Write the end of a run. While PostgreSQL does not answer, try again."""

    def write() -> None:
        try:
            end()
        except Exception as error:
            if passes(error):
                raise
            # The run's result or its error's text cannot be stored; this text can.
            logger.exception("The end of slot %s of %s cannot be written.", attempt.slot, attempt.task)
            ledger.fail(attempt, f"its end could not be written: {type(error).__name__}")

    _insist(write)


def _insist(write: Callable[[], object]) -> None:
    """Write to the ledger; while PostgreSQL does not answer, try again.

    A row must not stay `running` while its worker lives. If this process is told to stop first, it gives
    its lock back and the tick closes the row.
    """
    while True:
        try:
            try:
                with connection():
                    write()
                return
            except Exception as error:
                if not passes(error):
                    raise
                logger.warning("The ledger waits for PostgreSQL: %s", error)
            if stopping.wait(_RECORD_PAUSE_SECONDS):
                return
        except Interrupt:
            # The time limit interrupted this write. The run has already ended, so the write goes on.
            continue
