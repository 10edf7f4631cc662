"""Through how many files does a newcomer go who follows an order, or a command, through the code?

    python -m benchmarks.walk

Counts the files of which a function is called, from the message of `fulfil_waiting_orders` to the committed
packages, and from `PRODUCT_NOT_FOUND` to the rejected package, and names them in the order of the walk.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks import world
from oms_workers.database import connection
from oms_workers.packages.commands.registry import run_command
from oms_workers.scheduling import process, table
from oms_workers.scheduling.actor import run_manually

PROJECT = world.PROJECT


def main() -> None:
    with world.postgres():
        # Importing it begins a program.
        importlib.import_module("schedules")

        with connection():
            world.store_orders(1, 1)
        process.worker()
        planning = files_of(lambda: run_manually(table.find("FULFIL_WAITING_ORDERS")))
        show("fulfil_waiting_orders, from its message to the committed packages", planning)
        rejection = files_of(lambda: run_command("P1-1", "PRODUCT_NOT_FOUND", actor="walk"))
        show("PRODUCT_NOT_FOUND, from the command to the rejected package", rejection)
        process.stop_liveness()


def files_of(work: Callable[[], object]) -> list[str]:
    """Our files of which `work` calls a function, in the order in which they are first reached."""
    seen: dict[str, None] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and is_ours(path) and not is_generated(frame.f_code):
            seen[str(path.relative_to(PROJECT))] = None

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return [*seen]


def is_ours(path: Path) -> bool:
    return path.is_absolute() and path.is_relative_to(PROJECT / "oms_workers")


def is_generated(code: CodeType) -> bool:
    """What a class does at its definition is no step of a walk."""
    return code.co_name.startswith("<module")


def show(walk: str, files: list[str]) -> None:
    print(f"{walk}: {len(files)} files")
    for number, path in enumerate(files, start=1):
        print(f"  {number:2} {path}")


if __name__ == "__main__":
    main()
