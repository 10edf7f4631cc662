"""A platform of our own: servers to stop, processes to kill, and a ledger to read afterwards."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import namedtuple_row

import settings
from oms_workers.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from oms_workers.sandbox.supervisor import Supervisor, read_procfile

PROJECT = Path(settings.__file__).parent
INTERVALS = {"oms.tests.tasks.quick": timedelta(seconds=2), "oms.tests.tasks.slow": timedelta(seconds=5)}


class Stage:
    """Servers of its own, and the Procfile's processes with the tasks of `table`."""

    def __init__(self, directory: Path, table: str = "tests.processes.table", **variables: str) -> None:
        self.postgres = EmbeddedPostgres(directory / "pg").start()
        self.valkey = EmbeddedValkey(directory / "valkey").start()
        self.evidence = directory
        environment = {
            **os.environ,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "TICK_SECONDS": "2",
            "OMNITRON_ORDERS": "false",
            "EVIDENCE": str(directory),
            "PYTHONPATH": str(PROJECT),
            **variables,
        }
        self.processes = Supervisor(environment, directory=directory, logs=directory / "logs")
        self.commands = {
            name: command.replace("schedules", table, 1)
            for name, command in read_procfile(PROJECT / "Procfile").items()
        }

    def release(self) -> None:
        assert self.processes.run("release", self.commands["release"]) == 0, self.processes.log("release")

    def start(self, *names: str) -> None:
        """Start processes of the Procfile; `clock2` is one more of `clock`."""
        self.processes.start({name: self.commands[name.rstrip("23")] for name in names})

    def end(self) -> None:
        self.processes.end()
        self.valkey.stop()
        self.postgres.stop(mode="immediate")

    def query(self, sql: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.postgres.url, autocommit=True, row_factory=namedtuple_row) as session:
            return session.execute(sql, parameters or None).fetchall()

    def runs(self, task: str) -> list[Any]:
        return self.query(
            "SELECT * FROM scheduled_runs WHERE task = %s AND trigger <> 'manual' ORDER BY slot",
            f"oms.tests.tasks.{task}",
        )

    def successes(self, task: str, after: datetime | None = None) -> list[Any]:
        after = after or datetime(2000, 1, 1, tzinfo=UTC)
        return [run for run in self.runs(task) if run.state == "succeeded" and run.slot > after]

    def until(self, found: Callable[[], Any], seconds: float) -> Any:
        """What `found` returns as soon as it is true; fails with the logs when it never is."""
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, f"not within {seconds} s\n{self.logs()}"
            time.sleep(0.1)
        return value

    def until_success(self, task: str, seconds: float = 30) -> Any:
        """The next success of a slot that comes due from now on."""
        now = datetime.now(UTC)
        return self.until(lambda: self.successes(task, now), seconds)[0]

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n{self.processes.log(name)[-4000:]}" for name in ("clock", "worker", "worker2")
        )

    def kill_worker_of(self, running: Any) -> None:
        """Kill -9 the process that is at work on this run."""
        os.kill(int(running.worker.split("/")[1]), signal.SIGKILL)

    def alive(self) -> set[int]:
        """The processes that run here, by pid."""
        return set().union(*(self.family(name) for name in ("clock", "worker")))

    def family(self, name: str) -> set[int]:
        """A command's process and all that it has started."""
        process = psutil.Process(self.processes.pid(name))
        return {process.pid, *(child.pid for child in process.children(recursive=True))}

    def assert_sound(self) -> None:
        """Every slot accounted for in exactly one row, nothing running for ever, never two live runs."""
        assert "two live runs" not in self.evidence_log()
        for task, interval in INTERVALS.items():
            runs = self.runs(task.rpartition(".")[2])
            assert runs, f"{task} never ran\n{self.logs()}"
            for before, after in pairwise(runs):
                assert after.first_slot == before.slot + interval, (before, after)
            for run in runs:
                assert run.slots == (run.slot - run.first_slot) / interval + 1, run
            stale = datetime.now(UTC) - timedelta(seconds=90)
            assert [run for run in runs if run.state == "running" and run.started_at < stale] == []
            assert datetime.now(UTC) - runs[-1].slot < interval + timedelta(seconds=20), runs[-1]

    def evidence_log(self) -> str:
        return (self.evidence / "log").read_text()


@contextmanager
def directory() -> Iterator[Path]:
    """A directory whose path leaves room for the name of a Unix socket, and whose parents stay as they are.

    pytest closes its own to everybody else whenever it starts, and PostgreSQL may run as somebody else.
    """
    with tempfile.TemporaryDirectory(prefix="oms-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def stage(**variables: Any) -> Iterator[Stage]:
    """The servers, running and migrated; whatever was started on them is ended afterwards."""
    with directory() as path:
        on = Stage(path, **variables)
        try:
            on.release()
            yield on
        finally:
            on.end()
