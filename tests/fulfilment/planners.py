"""Planners as processes of their own, forked after everything is imported: `planners.py plan 16 20`.

`plan` plans waiting orders. `replan` is `fulfil_replaning_orders` and `retry_out_of_stock_packages` by turns,
all of them due at the same instant.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from oms_workers.database import connection, database, database_now, execute
from oms_workers.fulfilment import first_planning, replanning
from oms_workers.packages.models import UNPLANNED_STATES, PackageState
from oms_workers.scheduling.run import Run

STATES = (UNPLANNED_STATES, (PackageState.OUT_OF_STOCK, PackageState.DEFECTIVE_PRODUCT))


def main(what: str, processes: int, batch: int) -> None:
    """Let them all plan until nothing is left to plan; status 1 if one of them failed."""
    first_planning.BATCH = replanning.BATCH = batch
    with connection():
        slot = database_now()
    database.close_all()
    start = time.monotonic() + 0.3
    pids = [fork(start, slot, partial(work, what, number)) for number in range(processes)]
    failures = [pid for pid in pids if os.waitpid(pid, 0)[1]]
    sys.exit(bool(failures))


def work(what: str, number: int, run: Run) -> None:
    if what == "plan":
        first_planning.plan_waiting_orders(run)
    else:
        replanning.replan_packages(run, STATES[number % 2], actor="tests", max_attempts=0)


def fork(start: float, slot: datetime, plan: Callable[[Run], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            with connection():
                execute("SELECT 1")
                time.sleep(max(0.0, start - time.monotonic()))
                run = Run(database_now(), budget=timedelta(minutes=2), slot=slot)
            plan(run)
            os._exit(0)
        finally:
            # Reached only by an error.
            traceback.print_exc()
            os._exit(1)
    return pid


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
