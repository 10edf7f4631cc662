"""Runs the Procfile's processes and starts again what exits, as a platform does."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from oms_workers.sandbox.guard import Guard

#: What platforms allow between SIGTERM and SIGKILL.
DRAIN_SECONDS = 30.0

#: Between an exit and the next start; long enough not to spin on a process that cannot start.
RESTART_PAUSE_SECONDS = 0.5

_LOOK_SECONDS = 0.1


def read_procfile(path: Path) -> dict[str, str]:
    """The commands of a Procfile, by process name."""
    lines = (line.partition(":") for line in path.read_text().splitlines() if ":" in line)
    return {name.strip(): command.strip() for name, _, command in lines}


class Supervisor:
    """Keeps named commands running, each in a process group of its own, with its log in a file."""

    def __init__(
        self, environment: Mapping[str, str], *, directory: Path, logs: Path, guard: Guard | None = None
    ) -> None:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
        self.environment = {**environment, "PATH": programs, "PYTHONUNBUFFERED": "1"}
        self.exits: list[tuple[str, int]] = []
        self._directory = directory
        self._logs = logs
        self._guard = guard
        self._commands: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, commands: Mapping[str, str]) -> None:
        """Start these commands and keep them running."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self._lock:
            for name, command in commands.items():
                self._commands[name] = command
                self._spawn(name)
        if not self._thread.is_alive():
            self._thread.start()

    def pid(self, name: str) -> int:
        """The pid of a command's process, which is also its group's."""
        return self._processes[name].pid

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to every process of a command, as platforms do."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid(name), number)

    def log(self, name: str) -> str:
        """All that the command has written."""
        path = self._logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, *names: str) -> dict[str, int]:
        """End these commands, or all: SIGTERM, and SIGKILL after 30 s. Returns their exit statuses."""
        with self._lock:
            ending = {name: self._processes[name] for name in names or [*self._commands]}
            for name in ending:
                del self._commands[name]
                self.signal(name, signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        return {name: self._await_end(name, process, deadline) for name, process in ending.items()}

    def run(self, name: str, command: str) -> int:
        """Run a command to its end, and return its exit status; its log is of this run alone."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("wb") as log:
            return subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=self._directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode

    def end(self) -> None:
        """End everything and stop watching."""
        self.stop()
        self._ended.set()

    def _await_end(self, name: str, process: subprocess.Popen[bytes], deadline: float) -> int:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also what a killed parent has left of its group.
            self.signal(name, signal.SIGKILL)
            if self._guard is not None:
                self._guard.forget(process.pid)
        return process.wait()

    def _spawn(self, name: str) -> None:
        with (self._logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                # With `exec`, the process is the program itself and not a shell that dies before it.
                ["/bin/sh", "-c", f"exec env {self._commands[name]}"],
                cwd=self._directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self._guard is not None:
            self._guard.watch_group(self.pid(name))

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with self._lock:
                exited = [name for name in self._commands if self._processes[name].poll() is not None]
                self.exits += [(name, self._processes[name].returncode) for name in exited]
            if not exited or self._ended.wait(RESTART_PAUSE_SECONDS):
                continue
            with self._lock:
                for name in set(exited) & set(self._commands):
                    # What a killed parent has left of its group would work on beside its successor.
                    self.signal(name, signal.SIGKILL)
                    if self._guard is not None:
                        self._guard.forget(self.pid(name))
                    self._spawn(name)
