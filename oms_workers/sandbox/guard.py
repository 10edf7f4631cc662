"""Ends what a killed `oms up` would leave behind: the servers, and the processes that it supervised.

A process of its own, which reads from a pipe what there is to end. The pipe ends when its writer does,
however that happens; only a writer that has ended everything itself says so before.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

#: What the supervised processes have to end by themselves.
GRACE_SECONDS = 10.0

_LOOK_SECONDS = 0.1


class Guard:
    """The writer's end: tells the guard what to end, should this process be killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "oms_workers.sandbox.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Whatever ends the terminal or its process group must not end the guard.
            start_new_session=True,
            text=True,
        )

    def watch_group(self, pid: int) -> None:
        """End this process group, of what is supervised, before the servers."""
        self._tell(f"group {pid}")

    def watch_server(self, pid: int) -> None:
        """End this process at last."""
        self._tell(f"server {pid}")

    def watch_file(self, path: Path) -> None:
        """Delete this file, which says that we are running."""
        self._tell(f"file {path.resolve()}")

    def forget(self, pid: int) -> None:
        """This one has ended."""
        self._tell(f"ended {pid}")

    def dismiss(self) -> None:
        """Everything has been ended."""
        self._tell("dismissed")
        with suppress(BrokenPipeError):
            self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock, suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def main(lines: Iterable[str]) -> None:
    """Read until the pipe ends, and end what is left, unless we were dismissed."""
    groups: set[int] = set()
    servers: set[int] = set()
    files: set[Path] = set()
    for line in lines:
        kind, _, value = line.strip().partition(" ")
        if kind == "dismissed":
            return
        if kind == "file":
            files.add(Path(value))
        elif kind == "ended":
            groups.discard(int(value))
            servers.discard(int(value))
        else:
            (groups if kind == "group" else servers).add(int(value))
    for path in files:
        path.unlink(missing_ok=True)
    _end(groups, os.killpg, signal.SIGTERM)
    # PostgreSQL takes SIGINT for a fast shutdown; a SIGTERM would wait for its clients.
    _end(servers, os.kill, signal.SIGINT)


def _end(pids: set[int], send: Callable[[int, int], None], gently: signal.Signals) -> None:
    left = {pid for pid in pids if _send(send, pid, gently)}
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        left = {pid for pid in left if _send(send, pid, 0)}
    for pid in left:
        _send(send, pid, signal.SIGKILL)


def _send(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    """Whether there still was something to send to."""
    try:
        send(pid, number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.stdin)
