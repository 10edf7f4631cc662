"""What a process that runs or sends scheduled tasks does at its start and at its end."""

import logging
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

import dramatiq
from dramatiq.middleware import Middleware

import settings
from oms_workers import forks, migrations, servers, watch
from oms_workers.database import abandon_connection, connection, connection_parameters, database, passes
from oms_workers.scheduling import known_cadences, table
from oms_workers.scheduling.at_work import AT_WORK
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.liveness import Liveness
from oms_workers.watch import HARD_END_SECONDS, end_without_lock

logger = logging.getLogger(__name__)

#: How often, at least, a process says which configuration it runs: succession counts minutes.
SEEN_SECONDS = 60.0

_liveness: Liveness | None = None
_recorded = False
_seen_at = float("-inf")


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
    """Write what this process is configured to run, unless that is done.

    While PostgreSQL is away or takes no writes, or its clock differs from ours, the next claim tries.
    """
    if not _recorded:
        _record()


def keep_cadences() -> None:
    """Say again what this process runs: each minute, or at each tick where that is more often."""
    if time.monotonic() - _seen_at >= min(settings.current().tick_seconds, SEEN_SECONDS):
        _record()


def _record() -> None:
    global _recorded, _seen_at
    _seen_at = time.monotonic()
    try:
        with connection():
            older = known_cadences.record(task.plan for task in table.tasks())
            if older is None or _recorded:
                return
            _warn_of(older)
            migrations.announce()
        _recorded = True
    except Exception as error:
        if not passes(error):
            raise
        logger.warning("The schedule is not recorded; it is when PostgreSQL takes it: %s", error)


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
        servers.refuse_unfit()
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
    servers.refuse_unfit()
    record_cadences()
    # The clock does not need PostgreSQL again, and connections are few.
    database.close_all()
