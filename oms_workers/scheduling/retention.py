"""How long the ledger remembers."""

from datetime import datetime, timedelta

from peewee import fn

from oms_workers.scheduling.liveness import holds_lock
from oms_workers.scheduling.models import RunState, ScheduledRun, Trigger, Worker

#: A month's runs answer "since when is it late?"; each task's newest answers "did it ever run?".
RETENTION = timedelta(days=30)
PRUNE_BATCH = 1_000


def prune(now: datetime) -> int:
    """Delete a batch of rows older than `RETENTION`, but never a task's newest; return how many.

    By the index on slot.
    """
    old, newer = ScheduledRun.alias("old"), ScheduledRun.alias("newer")
    a_newer_one = newer.select(newer.id).where(
        newer.task == old.task,
        newer.slot > old.slot,
        (old.trigger == Trigger.MANUAL) | (newer.trigger != Trigger.MANUAL),
    )
    expired = (
        old.select(old.id)
        .where(
            old.slot < now - RETENTION,
            old.state != RunState.RUNNING,
            fn.EXISTS(a_newer_one),
        )
        .order_by(old.slot)
        .limit(PRUNE_BATCH)
    )
    deleted: int = ScheduledRun.delete().where(ScheduledRun.id.in_(expired)).execute()
    return deleted


def prune_workers(now: datetime) -> int:
    """Delete the dead workers that started longer than `RETENTION` ago; return how many."""
    expired = (Worker.started_at < now - RETENTION, ~holds_lock(Worker.id))
    deleted: int = Worker.delete().where(*expired).execute()
    return deleted
