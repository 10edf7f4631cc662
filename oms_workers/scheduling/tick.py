"""The tick: once a minute it compares the slots that came due with the ledger, and sends those without a run.

Its slots lie half a period after the full minute. By then the minute's own messages have arrived, so nothing
healthy is sent twice. The tick also closes the runs of dead workers and deletes old rows.

It needs neither a queue nor a free worker thread: `ticker.py` has the thread that asks whether it is due.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import dramatiq
import redis
from dramatiq.middleware import Middleware
from peewee import Select, fn

import settings
from oms_workers.broker import current, stopping
from oms_workers.configuration.cadence import Interval
from oms_workers.database import database, database_now, is_unreachable, passes
from oms_workers.scheduling import clocks, future, known_cadences, ledger, orphans, process, retention, table
from oms_workers.scheduling.actor import send
from oms_workers.scheduling.clock import PeriodicCadence
from oms_workers.scheduling.models import ScheduledTask, Trigger
from oms_workers.scheduling.operation import TICK
from oms_workers.sets import column, fetch

logger = logging.getLogger(__name__)

#: Where the clock leaves the time of its last tick message, for `oms status`.
SENT_KEY = "oms:tick:sent_at"

#: The class of the advisory lock ("omtk") by which one process at a time ticks, and its only key.
_LOCK = (0x6F6D746B, 0)

#: A tick that is late by so much is run without the lock: its holder may be frozen. Two ticks do no harm.
LATE_AFTER = timedelta(seconds=12)


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


def tick_if_due() -> bool:
    """Tick, unless that was done since the newest slot or another process is at it. Needs a connection."""
    if not is_due(tick_cadence(), *_last_and_now()):
        return False
    with _only_one() as alone:
        # Whoever had the lock before may have ticked meanwhile.
        due = is_due if alone else is_late
        if not due(tick_cadence(), *_last_and_now()):
            return False
        tick()
        return True


def is_due(cadence: Interval, last: datetime | None, now: datetime) -> bool:
    """Whether no tick was run, the `last` one included, since the newest slot."""
    return last is None or last < cadence.latest(now)


def is_late(cadence: Interval, last: datetime | None, now: datetime) -> bool:
    """Whether the next tick after the `last` one is so late that whoever has the lock must be frozen."""
    return last is not None and now - last > timedelta(seconds=cadence.seconds) + LATE_AFTER


class _LastAndNow(NamedTuple):
    last: datetime | None
    now: datetime


def _last_and_now() -> _LastAndNow:
    """When a tick was last run, and PostgreSQL's time. What its clock says to be still ahead is left out."""
    columns = (fn.MAX(ScheduledTask.last_seen).alias("last"), fn.clock_timestamp().alias("now"))
    query = ScheduledTask.select(*columns).where(
        ScheduledTask.task == TICK,
        ScheduledTask.last_seen <= fn.clock_timestamp(),
    )
    return fetch(query, _LastAndNow)[0]


@contextmanager
def _only_one() -> Iterator[bool]:
    """Whether no other process ticks during the block."""
    alone = bool(column(Select([], [fn.pg_try_advisory_lock(*_LOCK)]).bind(database))[0])
    try:
        yield alone
    finally:
        if alone:
            column(Select([], [fn.pg_advisory_unlock(*_LOCK)]).bind(database))


def tick() -> None:
    """Close the runs of dead workers, send the slots that are due and have no run, and delete old rows.

    It needs a connection. A step that fails does not stop the other steps, and a task that fails does not
    stop the other tasks.
    """
    due: list[tuple[table.Task, datetime]] = []
    _try("The runs of dead workers cannot be closed", orphans.close_orphans, None, stopping.wait)
    _try("The rows in the future cannot be put right", future.put_right)
    for task in table.tasks():
        _try(f"Whether {task.name} is due cannot be decided", _look, task, due)
    for task, slot in due:
        logger.info(
            "Slot %s of %s was missed or is to be tried again; it is sent.", slot.isoformat(), task.name
        )
        _try(f"The slot of {task.name} cannot be sent", send, task, slot, Trigger.TICK)
    _try("Old runs cannot be forgotten", forget)
    record_tick()
    _try("Dead workers cannot be forgotten in Redis", current().forget_silent_workers, datetime.now(UTC))


def _look(task: table.Task, due: list[tuple[table.Task, datetime]]) -> None:
    slot = ledger.is_due(task.plan)
    if slot is not None:
        due.append((task, slot))


def _try(problem: str, step: Callable[..., object], *arguments: object) -> None:
    try:
        step(*arguments)
    except Exception as error:
        if is_unreachable(error):
            raise
        if passes(error) or isinstance(error, redis.RedisError):
            logger.warning("%s: %s", problem, error)
        else:
            logger.exception("%s.", problem)


def forget() -> None:
    """Delete a batch of the rows that are older than the ledger's retention, by PostgreSQL's clock."""
    now = database_now()
    if not clocks.agree(now):
        # A clock that is a month ahead would let the whole ledger be forgotten.
        return
    for limit in retention.REMOVED_BY_TICK:
        retention.prune(limit, now)


def record_tick() -> None:
    known_cadences.see(TICK, tick_cadence())


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
