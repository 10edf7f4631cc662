"""How long the ledger remembers."""

from datetime import datetime, timedelta

from oms_workers.database import execute
from oms_workers.scheduling.liveness import HOLDS_LOCK

#: A month's runs answer "since when is it late?"; each task's newest answers "did it ever run?".
RETENTION = timedelta(days=30)
PRUNE_BATCH = 1_000


def prune(now: datetime) -> int:
    """Delete a batch of rows older than `RETENTION`, but never a task's newest; return how many."""
    return execute(
        """
        DELETE FROM scheduled_runs
        WHERE id IN (
            SELECT old.id
            FROM scheduled_runs AS old
            WHERE old.slot < %s AND old.state <> 'running'
              AND EXISTS (
                  SELECT FROM scheduled_runs AS newer
                  WHERE newer.task = old.task AND newer.slot > old.slot
                    AND (old.trigger = 'manual' OR newer.trigger <> 'manual')
              )
            ORDER BY old.slot
            LIMIT %s
        )
        """,
        (now - RETENTION, PRUNE_BATCH),
    )


def prune_workers(now: datetime) -> int:
    """Forget the dead workers whose runs are forgotten too."""
    return execute(
        f"DELETE FROM workers WHERE started_at < %s AND NOT {HOLDS_LOCK.format(worker='workers.id')}",
        (now - RETENTION,),
    )
