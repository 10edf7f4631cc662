"""How late is a run at idle: from its slot to the first line of its actor?

    python -m benchmarks.lateness [--seconds 120]

Starts PostgreSQL, Valkey, the clock and one worker by the Procfile's own lines, with `fulfil_waiting_orders`
due every second and nothing for it to do. The figures are the ledger's `started_at - slot`. In the same run,
before that, it measures the floor: how long a bare message takes to a worker of plain Dramatiq.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

import settings
from oms_workers.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from oms_workers.sandbox.supervisor import Supervisor, read_procfile

PROJECT = Path(settings.__file__).parent
FLOOR_MESSAGES = 60

LATENESS = """
    SELECT extract(epoch FROM started_at - slot)::float
    FROM scheduled_runs
    WHERE trigger = 'periodiq' AND started_at IS NOT NULL
    ORDER BY slot
"""

FLOOR = """
import sys, threading, time
import dramatiq
from dramatiq.brokers.redis import RedisBroker
broker = RedisBroker(url=sys.argv[1], namespace="floor")
dramatiq.set_broker(broker)
seen = threading.Event()
@dramatiq.actor
def arrive(sent_at):
    print(time.time() - sent_at, flush=True)
    seen.set()
worker = dramatiq.Worker(broker, worker_threads=4)
worker.start()
for _ in range(int(sys.argv[2])):
    time.sleep(0.5)
    seen.clear()
    arrive.send(time.time())
    seen.wait(10)
worker.stop()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how late scheduled runs start at idle.")
    parser.add_argument("--seconds", type=int, default=120)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="oms-") as directory:
        postgres = EmbeddedPostgres(Path(directory) / "pg").start()
        valkey = EmbeddedValkey(Path(directory) / "valkey").start()
        try:
            floor = measure_floor(valkey.url)
            ours = measure_ours(postgres.url, valkey.url, Path(directory), seconds)
        finally:
            valkey.stop()
            postgres.stop(mode="immediate")
    report("plain Dramatiq, send to first line", floor)
    report("oms-workers, slot to first line", ours)
    print(f"ratio of the medians: {statistics.median(ours) / statistics.median(floor):.2f}")


def measure_floor(redis_url: str) -> list[float]:
    command = [sys.executable, "-c", FLOOR, redis_url, str(FLOOR_MESSAGES)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(line) for line in ended.stdout.split()]


def measure_ours(database_url: str, redis_url: str, directory: Path, seconds: int) -> list[float]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OMNITRON_ORDERS": "false",
        "FULFIL_WAITING_ORDERS_SCHEDULE": "1",
    }
    commands = read_procfile(PROJECT / "Procfile")
    supervisor = Supervisor(environment, directory=PROJECT, logs=directory / "logs")
    if supervisor.run("release", commands.pop("release")):
        raise SystemExit(supervisor.log("release"))
    supervisor.start(commands)
    threading.Event().wait(seconds)
    supervisor.end()
    query = (
        "SELECT extract(epoch FROM started_at - slot)::float FROM scheduled_runs WHERE trigger = 'periodiq'"
    )
    with psycopg.connect(database_url) as session:
        late = [line[0] for line in session.execute(query + " AND started_at IS NOT NULL ORDER BY slot")]
    return late[5:]  # the first ones wait for the worker's start


def report(name: str, seconds: list[float]) -> None:
    ordered = [1000 * value for value in sorted(seconds)]
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    middle = statistics.median(ordered)
    print(f"{name}: n {len(ordered)}, p50 {middle:.0f} ms, p99 {p99:.0f} ms, max {ordered[-1]:.0f} ms")


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"took {time.monotonic() - started:.0f} s")
