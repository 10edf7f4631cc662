"""Planners as processes of their own, forked after everything is imported: `planners.py 16 20`."""

import os
import sys
import time
import traceback
from datetime import timedelta
from typing import NoReturn

from oms_workers.database import connection, database_now, execute
from oms_workers.fulfilment import waiting
from oms_workers.scheduling.run import Run


def main(processes: int, batch: int) -> None:
    """Let them all plan until nothing waits; status 1 if one of them failed."""
    waiting.BATCH = batch
    start = time.monotonic() + 0.3
    pids = [fork(start) for _ in range(processes)]
    failures = [pid for pid in pids if os.waitpid(pid, 0)[1]]
    sys.exit(bool(failures))


def fork(start: float) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            plan(start)
        finally:
            # Reached only by an error.
            traceback.print_exc()
            os._exit(1)
    return pid


def plan(start: float) -> NoReturn:
    with connection():
        execute("SELECT 1")
        time.sleep(max(0.0, start - time.monotonic()))
        now = database_now()
    waiting.plan_waiting_orders(Run(now, budget=timedelta(minutes=2)))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
