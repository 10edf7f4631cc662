"""Two tasks for the process tests, loaded by `dramatiq` and `periodiq` as `schedules` would be.

Each run holds a file lock that the kernel gives back at its process's death, so that two live runs of one
task betray themselves whatever the ledger says.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.program import begin
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task, every

__all__ = ["broker"]

EVIDENCE = Path(os.environ["EVIDENCE"])
SLOW_SECONDS = float(os.environ.get("SLOW_SECONDS", "3"))


@scheduled("oms.tests.tasks.quick", budget=timedelta(seconds=60))
def quick(run: Run) -> dict[str, int]:
    with alone("quick"):
        return {"seen": 1}


@scheduled("oms.tests.tasks.slow", budget=timedelta(seconds=60))
def slow(run: Run) -> dict[str, int]:
    batches = 0
    with alone("slow"):
        until = time.monotonic() + SLOW_SECONDS
        while time.monotonic() < until and run.wait(0.1):
            batches += 1
    return {"batches": batches}


@contextmanager
def alone(task: str) -> Iterator[None]:
    with (EVIDENCE / f"{task}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"two live runs of {task}")
            raise
        note(f"start {task} {os.getpid()}")
        yield
        note(f"end {task} {os.getpid()}")


def note(line: str) -> None:
    with (EVIDENCE / "log").open("a") as log:
        log.write(f"{line}\n")


broker = begin(
    [
        Task("quick", "DB_MAINTENANCE", quick, every(2)),
        Task("slow", "ARCHIVE_OLD_AUDIT_EVENTS", slow, every(5)),
    ]
)
