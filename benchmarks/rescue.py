"""How long after kill -9 is a run started again, while long runs take every thread of another worker?

    python -m benchmarks.rescue [--phases 12]

Starts PostgreSQL, Valkey, the clock and three workers, with the default tick of 60 s. One worker is wholly
busy. A fourth long run is at work on one of the others, whose process is killed at so many phases of the
minute. A figure is the time from the kill to the ledger's next start of that run.
"""

import argparse
import os
import signal
import statistics
import time
from typing import Any

from tests.processes.stage import Stage, stage

BUSY = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the rescue of killed workers' runs.")
    parser.add_argument("--phases", type=int, default=12)
    phases = parser.parse_args().phases
    variables = {"TICK_SECONDS": "60", "CATCH_UP_SECONDS": "604800", "SLOW_SECONDS": "36000"}
    with stage(table="tests.processes.long_runs", **variables) as on:
        busy = begin(on)
        seconds = [rescue(on, busy, phase * 60 / phases) for phase in range(phases)]
    middle, worst = statistics.median(seconds), max(seconds)
    print(f"rescue at {phases} phases: p50 {middle:.1f} s, max {worst:.1f} s, at most 90 s are promised")


def begin(on: Stage) -> int:
    """The pid of the worker that is wholly busy."""
    on.commands["worker"] = on.commands["worker"].replace("--threads 4", f"--threads {BUSY}")
    on.start("worker")
    on.until(lambda: on.query("SELECT 1 FROM scheduled_tasks WHERE task LIKE '%long_3'"), 30)
    on.query(
        "UPDATE scheduled_tasks SET since = since - interval '8 days' WHERE task LIKE '%long%' RETURNING 1"
    )
    on.until(lambda: len(running(on)) == BUSY, 90)
    on.start("worker2", "worker3", "clock")
    on.until(lambda: len(running(on)) == BUSY + 1, 90)
    return pid_of(running(on)[0])


def running(on: Stage) -> list[Any]:
    return on.query("SELECT * FROM scheduled_runs WHERE state = 'running' ORDER BY started_at")


def pid_of(run: Any) -> int:
    return int(run.worker.split("/")[1])


def rescue(on: Stage, busy: int, phase: float) -> float:
    """Kill at this second of a minute; how long it took until the run was at work again."""
    (victim,) = [run for run in running(on) if pid_of(run) != busy]
    # All attempts but one are still there, at each phase.
    on.query("UPDATE scheduled_runs SET attempts = 1 WHERE id = %s RETURNING 1", victim.id)
    time.sleep((phase - time.time()) % 60)
    os.kill(pid_of(victim), signal.SIGKILL)
    killed_at = time.time()
    again = on.until(
        lambda: [run for run in running(on) if run.id == victim.id and run.started_at > victim.started_at],
        150,
    )[0]
    took = again.started_at.timestamp() - killed_at
    print(f"killed at :{phase:04.1f}, started again after {took:.1f} s", flush=True)
    # The killed worker is started again by then, so that two are free at the next phase.
    time.sleep(5)
    return took


if __name__ == "__main__":
    main()
