"""Tasks whose runs take all threads of a worker, and one that is rescued meanwhile."""

import os
import time
from datetime import timedelta

from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.program import begin
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task, every

__all__ = ["broker"]

LONG_SECONDS = float(os.environ.get("SLOW_SECONDS", "600"))
WEEK = 7 * 24 * 60 * 60


def long(run: Run) -> dict[str, int]:
    until = time.monotonic() + LONG_SECONDS
    while time.monotonic() < until and run.wait(0.1):
        pass
    return {}


#: Like other tasks', and in the queue of all.
KEYS = ("DB_MAINTENANCE", "ARCHIVE_OLD_AUDIT_EVENTS", "FULFIL_WAITING_ORDERS", "FULFIL_REPLANNING_ORDERS")

broker = begin(
    [
        Task(
            f"long-{number}",
            key,
            scheduled(f"oms.tests.tasks.long_{number}", budget=timedelta(hours=1))(long),
            every(WEEK),
        )
        for number, key in enumerate(KEYS)
    ]
)
