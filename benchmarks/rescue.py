"""How long after kill -9 is a run started again, while long runs take every thread of another worker?

    python -m benchmarks.rescue [--phases 12] [--ticks 4]

Starts PostgreSQL, Valkey, the clock and three workers, with the default tick of 60 s. One worker is wholly
busy. A fourth long run is at work on one of the others, whose process is killed at so many phases of the
minute. A figure is the time from the kill to the ledger's next start of that run.

Before that, the first worker is the only one, and all its threads are busy. The longest pause between so many
ticks is printed, as the database records them.
"""

import argparse
import os
import signal
import statistics
import time
from itertools import pairwise
from typing import Any

from tests.processes.stage import Stage, stage

BUSY = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the rescue of killed workers' runs.")
    parser.add_argument("--phases", type=int, default=12)
    parser.add_argument("--ticks", type=int, default=4)
    given = parser.parse_args()
    phases = given.phases
    variables = {"TICK_SECONDS": "60", "CATCH_UP_SECONDS": "604800", "SLOW_SECONDS": "36000"}
    with stage(table="tests.processes.long_runs", **variables) as on:
        busy = begin(on, given.ticks)
        seconds = [rescue(on, busy, phase * 60 / phases) for phase in range(phases)]
    middle, worst = statistics.median(seconds), max(seconds)
    print(f"rescue at {phases} phases: p50 {middle:.1f} s, max {worst:.1f} s, at most 90 s are promised")


def begin(on: Stage, ticks: int) -> int:
    """The pid of the worker that is wholly busy."""
    on.commands["worker"] = on.commands["worker"].replace("--threads 4", f"--threads {BUSY}")
    on.start("worker")
    on.until(lambda: on.query("SELECT 1 FROM scheduled_tasks WHERE task LIKE '%long_3'"), 30)
    on.query(
        "UPDATE scheduled_tasks SET since = since - interval '8 days' WHERE task LIKE '%long%' RETURNING 1"
    )
    on.until(lambda: len(running(on)) == BUSY, 90)
    on.start("clock")
    print(f"{ticks} ticks with every thread busy: longest pause {longest_pause(on, ticks):.1f} s", flush=True)
    on.start("worker2", "worker3")
    on.until(lambda: len(running(on)) == BUSY + 1, 90)
    return pid_of(running(on)[0])


def longest_pause(on: Stage, ticks: int) -> float:
    """The most seconds between two of the next ticks."""
    seen = [last_tick(on)]
    for _ in range(ticks):
        seen.append(on.until(lambda: moment if (moment := last_tick(on)) != seen[-1] else None, 150))
    return max((later - earlier).total_seconds() for earlier, later in pairwise(seen[1:]))


def last_tick(on: Stage) -> Any:
    (row,) = on.query("SELECT last_seen FROM scheduled_tasks WHERE task = 'oms.scheduling.tasks.tick'")
    return row.last_seen


def running(on: Stage) -> list[Any]:
    return on.query("SELECT * FROM scheduled_runs WHERE state = 'running' ORDER BY started_at")


def pid_of(run: Any) -> int:
    return int(run.worker.split("/")[1])


def rescue(on: Stage, busy: int, phase: float) -> float:
    """Kill at this second of a minute; how long it took until the run was at work again."""
    (victim,) = [run for run in running(on) if pid_of(run) != busy]
    time.sleep((phase - time.time()) % 60)
    os.kill(pid_of(victim), signal.SIGKILL)
    killed_at = time.time()
    # After ten deaths the run would be given up. A living worker would take a changed row for the run's loss.
    on.query("UPDATE scheduled_runs SET attempts = 1, interruptions = 0 WHERE id = %s RETURNING 1", victim.id)
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
