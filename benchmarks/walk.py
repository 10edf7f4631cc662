"""Through how many files does a newcomer go who follows an order, or a command, through the code?

    python -m benchmarks.walk

Counts the files of which a function is called, in the order in which they are first reached:

- from what the message of `fulfil_waiting_orders` calls to the committed packages,
- from the command `PRODUCT_NOT_FOUND` to the rejected package,
- and for a message of any task, from its arrival to the call of the task's function: the claim.
"""

import importlib
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import settings
from benchmarks import world
from oms_workers.database import connection, database_now
from oms_workers.fulfilment.tasks import fulfil_waiting_orders
from oms_workers.packages.commands.registry import run_command
from oms_workers.scheduling import process, table
from oms_workers.scheduling.actor import run_manually
from oms_workers.scheduling.run import Run

PROJECT = Path(settings.__file__).parent


def main() -> None:
    with world.postgres():
        # Importing it begins a program.
        importlib.import_module("schedules")
        with connection():
            world.store_orders(1, 1)
        show("fulfil_waiting_orders, from its function to the committed packages", files_of(plan))
        show("PRODUCT_NOT_FOUND, from the command to the rejected package", files_of(reject))
        process.worker()
        idle = [path for path in files_of(claim) if "scheduling" in path or "configuration" in path]
        show("any task, from its message to the call of its function", idle)
        process.stop_liveness()


def plan() -> None:
    with connection():
        run = Run(database_now(), budget=timedelta(minutes=1))
    fulfil_waiting_orders.function(run)


def reject() -> None:
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="walk")


def claim() -> None:
    run_manually(table.find("FULFIL_WAITING_ORDERS"))


def files_of(work: Callable[[], object]) -> list[str]:
    """Our files of which `work` calls a function, in the order in which they are first reached."""
    seen: dict[str, None] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_absolute() and path.is_relative_to(PROJECT / "oms_workers"):
            seen[str(path.relative_to(PROJECT / "oms_workers"))] = None

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return [*seen]


def show(walk: str, files: list[str]) -> None:
    print(f"{walk}: {len(files)} files")
    for number, path in enumerate(files, start=1):
        print(f"  {number:2} {path}")


if __name__ == "__main__":
    main()
