"""Runs of killed workers are rescued while other runs take every thread of another worker."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.processes.stage import Stage, stage

BUSY_TASKS = 3


@pytest.fixture
def on() -> Iterator[Stage]:
    # Weekly slots, so that only the tick sends anything.
    with stage(table="tests.processes.long_runs", CATCH_UP_SECONDS="604800") as running:
        yield running


def running(on: Stage) -> list[Any]:
    return on.query("SELECT * FROM scheduled_runs WHERE state = 'running' ORDER BY id")


def by_worker(on: Stage) -> dict[int, int]:
    """How many runs each process is at, by pid."""
    pids = [int(run.worker.split("/")[1]) for run in running(on)]
    return {pid: pids.count(pid) for pid in pids}


def test_a_free_thread_anywhere_rescues_while_all_others_are_busy(on: Stage) -> None:
    on.commands["worker"] = on.commands["worker"].replace("--threads 4", f"--threads {BUSY_TASKS}")
    on.start("worker")
    on.until(lambda: on.query("SELECT 1 FROM scheduled_tasks WHERE task LIKE '%long_3'"), 20)
    on.query("UPDATE scheduled_tasks SET since = since - interval '8 days' RETURNING 1")
    on.until(lambda: len(running(on)) == BUSY_TASKS, 20)
    busy = next(iter(by_worker(on)))
    # The fourth waits for a thread: no clock is there, so the tick alone has sent it.
    on.start("worker2")
    on.until(lambda: len(running(on)) == BUSY_TASKS + 1, 20)
    (other,) = [pid for pid in by_worker(on) if pid != busy]
    on.start("worker3")

    os.kill(other, signal.SIGKILL)

    (rescued,) = on.until(lambda: [run for run in running(on) if run.attempts == 2], 30)
    assert int(rescued.worker.split("/")[1]) not in (busy, other)
    assert by_worker(on)[busy] == BUSY_TASKS
