"""What a process that runs or sends scheduled tasks does at its start and at its end."""

import logging
import signal
import sys
from types import FrameType
from typing import NoReturn

import dramatiq
from dramatiq.middleware import Middleware

import settings
from oms_workers import forks, migrations, servers, watch
from oms_workers.database import (
    UNREACHABLE,
    abandon_connection,
    connection,
    connection_parameters,
    database,
    database_now,
)
from oms_workers.scheduling import clocks, known_cadences, table
from oms_workers.scheduling.at_work import AT_WORK
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.liveness import Liveness
from oms_workers.watch import HARD_END_SECONDS, end_without_lock

logger = logging.getLogger(__name__)

_liveness: Liveness | None = None
_recorded = False


def worker() -> str:
    """The id under which this process claims runs. The first call takes the process's liveness lock."""
    return start_liveness().worker


def lost() -> bool:
    """Whether this process has been without its lock for so long that others may take over its runs."""
    return _liveness is not None and _liveness.lost()


def start_liveness() -> Liveness:
    global _liveness
    if _liveness is None:
        forks.in_child(_forget)
        _liveness = Liveness(connection_parameters(settings.current()), at_work=AT_WORK).start()
    return _liveness


def _forget() -> None:
    """In a forked child: the lock is the parent's. Who claims runs takes one of its own."""
    global _liveness
    _liveness = None


def stop_liveness() -> None:
    global _liveness
    if _liveness is not None:
        _liveness.stop()
    _liveness = None


def holds_lock() -> bool:
    """Whether this process holds its liveness lock. Without it, it may not claim runs."""
    return start_liveness().held()


def record_cadences() -> None:
    """Write once what this process is configured to run.

    While PostgreSQL is away, or its clock differs from ours, the next claim tries.
    """
    global _recorded
    if _recorded:
        return
    servers.refuse_unfit()
    try:
        with connection():
            if not clocks.agree(database_now()):
                return
            _warn_of(known_cadences.record(task.plan for task in table.tasks()))
            migrations.announce()
        _recorded = True
    except UNREACHABLE as error:
        logger.warning("The schedule is not recorded because PostgreSQL does not answer: %s", error)


def _warn_of(older: list[TaskPlan]) -> None:
    for plan in older:
        logger.warning(
            "This process has %s as %s, %s. A newer cadence or switch of it is in effect. If this process is"
            " right, run `oms migrate`; else it ends with the deploy.",
            plan.task,
            plan.cadence,
            "enabled" if plan.enabled else "disabled",
        )


class WorkerProcess(Middleware):
    """A worker process holds its liveness lock from its boot to the end of its last run."""

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        global _recorded
        _recorded = False
        record_cadences()
        watch.over(start_liveness().thread)

    def after_process_message(
        self,
        broker: dramatiq.Broker,  # noqa: ARG002
        message: dramatiq.MessageProxy,  # noqa: ARG002
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        """What a message has left open would stop others, and the next message of its thread."""
        abandon_connection()

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:  # noqa: ARG002
        abandon_connection()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        stop_liveness()


def start_clock() -> None:
    """What periodiq's process does before it first reads the time."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_without_lock(HARD_END_SECONDS)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    record_cadences()
    # The clock does not need PostgreSQL again, and connections are few.
    database.close_all()
