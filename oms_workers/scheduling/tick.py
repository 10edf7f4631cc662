"""The tick: once a minute, what was due is compared with the ledger, and what nobody came for is sent.

Its slots lie half a period after the minute's own, when the minute's messages have arrived, so that nothing
healthy is sent twice. It also ends the runs of dead workers and forgets what is old.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware

import settings
from oms_workers.broker import Job, current, stopping
from oms_workers.configuration.cadence import Interval
from oms_workers.database import UNREACHABLE, connection, database_now, is_unreachable, row
from oms_workers.scheduling import known_cadences, ledger, orphans, process, retention, table
from oms_workers.scheduling.actor import send
from oms_workers.scheduling.clock import PeriodicCadence

logger = logging.getLogger(__name__)

TICK = "oms.scheduling.tasks.tick"

#: Where the clock leaves the time of its last tick message, for `oms status`.
SENT_KEY = "oms:tick:sent_at"

#: Workers take a tick before whatever else waits: what it finds is late already.
TICK_PRIORITY = -10


class TickCadence(PeriodicCadence):
    """The tick's cadence, through which periodiq's process learns that it is the clock."""

    def validate(self, now: datetime) -> bool:
        if self._asked_at is None:
            process.start_clock()
        return super().validate(now)


class TickSent(Middleware):
    """Leaves a trace of each tick message, so that a silent clock can be told from a stuck queue."""

    def after_enqueue(self, _: dramatiq.Broker, message: dramatiq.Message, delay: int | None) -> None:  # noqa: ARG002
        if message.actor_name == TICK:
            current().client.set(SENT_KEY, datetime.now(UTC).isoformat())


def tick_cadence() -> Interval:
    """Every `TICK_SECONDS`, half a period after the full ones."""
    seconds = settings.current().tick_seconds
    return Interval(seconds, offset=seconds // 2)


def tick() -> None:
    """Take care of what dead workers left, send what is due and has no run, and forget what is old.

    What cannot be done for one task, or at all, keeps nothing else from being done.
    """
    due: list[tuple[table.Task, datetime]] = []
    with connection():
        _try(lambda: orphans.close_orphans(None, stopping.wait), "Dead workers' runs cannot be closed")
        for task in table.tasks():
            _try(lambda: _look(task, due), f"It cannot be told whether {task.name} is due")  # noqa: B023
    for task, slot in due:
        logger.info("Nobody has run slot %s of %s; it is sent.", slot.isoformat(), task.name)
        send(task, slot, "tick")
    with connection():
        _try(lambda: known_cadences.keep(task.plan for task in table.tasks()), "The schedule cannot be kept")
        _try(forget, "Old runs cannot be forgotten")
        record_tick()


def _look(task: table.Task, due: list[tuple[table.Task, datetime]]) -> None:
    slot = ledger.is_due(task.plan)
    if slot is not None:
        due.append((task, slot))


def _try(step: Callable[[], object], problem: str) -> None:
    try:
        step()
    except UNREACHABLE as error:
        if is_unreachable(error):
            raise
        logger.warning("%s: %s", problem, error)
    except Exception:
        logger.exception("%s.", problem)


def forget() -> None:
    """Delete a batch of what is older than the ledger's retention, by PostgreSQL's clock."""
    now = database_now()
    retention.prune(now)
    retention.prune_workers(now)


def record_tick() -> None:
    known_cadences.record(
        [known_cadences.TaskPlan(TICK, tick_cadence(), enabled=True, catch_up=timedelta(0))]
    )


def last_sent() -> datetime | None:
    """When the clock last sent a tick, if Redis knows."""
    sent: Any = current().client.get(SENT_KEY)
    return datetime.fromisoformat(sent.decode()) if sent else None


def last_run() -> datetime | None:
    """When a worker last ran a tick."""
    ran = row("SELECT max(last_seen) AS at FROM scheduled_tasks WHERE task = %s", (TICK,))
    return ran.at if ran else None


def schedule() -> None:
    """Give periodiq the table: each enabled task's actor its cadence, and the tick its own."""
    current().get_actor(TICK).options["periodic"] = TickCadence(tick_cadence())
    for task in table.tasks():
        if task.enabled:
            task.actor.options["periodic"] = PeriodicCadence(task.cadence)


JOB = Job(TICK, tick, {"priority": TICK_PRIORITY, "time_limit": 60_000})
