"""A process that was told to stop ends, whatever it waits for."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import settings

PROJECT = Path(settings.__file__).parent

#: Told to stop within half a second, and then at something that nobody can interrupt.
STOPPED = """
import ctypes, os, sys, threading, time
from oms_workers import watch
from oms_workers.broker import stopping
watch.Watch(hard_end_seconds=0.5).start()
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
        [sys.executable, "-c", STOPPED.format(hang=hang)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert time.monotonic() - started < 10
    assert ended.returncode == 1


def test_a_process_that_ends_by_itself_is_left_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED.format(hang="print('done')")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
