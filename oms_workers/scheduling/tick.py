"""The tick: once a minute it compares the slots that came due with the ledger, and sends those without a run.

Its slots lie half a period after the full minute. By then the minute's own messages have arrived, so nothing
healthy is sent twice. The tick also closes the runs of dead workers and deletes old rows.
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
from oms_workers.database import UNREACHABLE, connection, database_now, is_unreachable
from oms_workers.scheduling import known_cadences, ledger, orphans, process, retention, table
from oms_workers.scheduling.actor import send
from oms_workers.scheduling.clock import PeriodicCadence
from oms_workers.scheduling.models import Trigger

logger = logging.getLogger(__name__)

TICK = "oms.scheduling.tasks.tick"

#: Where the clock leaves the time of its last tick message, for `oms status`.
SENT_KEY = "oms:tick:sent_at"

#: Workers take a tick before other messages, because the slots that it finds are late already.
TICK_PRIORITY = -10


class TickCadence(PeriodicCadence):
    """The tick's cadence, through which periodiq's process learns that it is the clock."""

    def validate(self, now: datetime) -> bool:
        if self._asked_at is None:
            process.start_clock()
        return super().validate(now)


class TickSent(Middleware):
    """Keeps the time of each tick message, which tells a silent clock from a stuck queue."""

    def after_enqueue(self, _: dramatiq.Broker, message: dramatiq.Message, delay: int | None) -> None:  # noqa: ARG002
        if message.actor_name == TICK:
            current().client.set(SENT_KEY, datetime.now(UTC).isoformat())


def tick_cadence() -> Interval:
    """Every `TICK_SECONDS`, half a period after the full ones."""
    seconds = settings.current().tick_seconds
    return Interval(seconds, offset=seconds // 2)


def tick() -> None:
    """Close the runs of dead workers, send the slots that are due and have no run, and delete old rows.

    A step that fails does not stop the other steps, and a task that fails does not stop the other tasks.
    """
    due: list[tuple[table.Task, datetime]] = []
    with connection():
        _try("The runs of dead workers cannot be closed", orphans.close_orphans, None, stopping.wait)
        for task in table.tasks():
            _try(f"Whether {task.name} is due cannot be decided", _look, task, due)
    for task, slot in due:
        logger.info(
            "Slot %s of %s was missed or is to be tried again; it is sent.", slot.isoformat(), task.name
        )
        send(task, slot, Trigger.TICK)
    with connection():
        _try("The cadences cannot be marked as seen", _keep_cadences)
        _try("Old runs cannot be forgotten", forget)
        record_tick()


def _look(task: table.Task, due: list[tuple[table.Task, datetime]]) -> None:
    slot = ledger.is_due(task.plan)
    if slot is not None:
        due.append((task, slot))


def _keep_cadences() -> None:
    known_cadences.keep(task.plan for task in table.tasks())


def _try(problem: str, step: Callable[..., object], *arguments: object) -> None:
    try:
        step(*arguments)
    except UNREACHABLE as error:
        if is_unreachable(error):
            raise
        logger.warning("%s: %s", problem, error)
    except Exception:
        logger.exception("%s.", problem)


def forget() -> None:
    """Delete a batch of the rows that are older than the ledger's retention, by PostgreSQL's clock."""
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
    """When a worker last ran a tick, if one ever did."""
    return known_cadences.last_seen(TICK)


def schedule() -> None:
    """Give periodiq the table: each enabled task's actor its cadence, and the tick its own."""
    current().get_actor(TICK).options["periodic"] = TickCadence(tick_cadence())
    for task in table.tasks():
        if task.enabled:
            task.actor.options["periodic"] = PeriodicCadence(task.cadence)


JOB = Job(TICK, tick, {"priority": TICK_PRIORITY, "time_limit": 60_000})
