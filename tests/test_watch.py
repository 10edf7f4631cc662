"""A process that was told to stop ends, whatever it waits for."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import settings
from oms_workers.watch import Watch

PROJECT = Path(settings.__file__).parent

#: Told to stop within half a second, and then at something that nobody can interrupt.
STOPPED = """
import ctypes, os, sys, threading, time
from oms_workers import watch
from oms_workers.broker import stopping
watch.Watch(hard_end_seconds={seconds}).start()
stopping.set()
time.sleep(0.2)
{hang}
"""


@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(60)",
        # A thread that is no daemon is waited for at the exit.
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        # It holds the interpreter's lock meanwhile.
        "ctypes.PyDLL(None).sleep(60)",
    ],
)
def test_a_process_that_does_not_end_is_ended(hang: str) -> None:
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED.format(seconds=0.5, hang=hang)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert time.monotonic() - started < 10
    assert ended.returncode == 1
    # It says where its threads were.
    assert "(most recent call first)" in ended.stderr


def test_a_process_that_ends_by_itself_is_left_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED.format(seconds=20, hang="print('done')")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_a_process_whose_thread_has_died_is_told_to_stop_once() -> None:
    stops: list[int] = []
    let_go = threading.Event()
    thread = threading.Thread(target=let_go.wait, args=(10,))
    thread.start()
    watch = Watch(stop=lambda: stops.append(1))
    watch.over(thread)

    watch.look()
    assert (stops, watch.problem) == ([], None)
    let_go.set()
    thread.join()
    watch.look()
    watch.look()

    assert (stops, watch.problem) == ([1], f"its thread {thread.name} has died")


def test_a_process_whose_master_has_died_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[int] = []
    watch = Watch(stop=lambda: stops.append(1))

    monkeypatch.setattr(os, "getppid", lambda: 1)
    watch.look()

    assert (stops, watch.problem) == ([1], "its master has died")
