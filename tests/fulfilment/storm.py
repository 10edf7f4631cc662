"""Eight processes that do whatever may be done, of which one is killed with SIGKILL every six seconds.

`storm.py SECONDS SEED` works on the database of the environment, and prints how often each thing was done and
how many processes were killed. A process that ends by itself with an error ends it with status 1.
"""

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fulfilment.interleavings import WORK, World

PROCESSES = 8
KILL_SECONDS = 6.0

#: More orders than one process places.
KEYS = 100_000


def work(incarnation: int, seed: int, deadline: float, notes: Path) -> None:
    """Do one thing after the other until the deadline, and note each when it is done."""
    chance, world = random.Random(seed + incarnation), World(incarnation * KEYS)
    with notes.open("a", buffering=1) as done:
        while time.monotonic() < deadline:
            task = chance.choice(WORK)
            task(world, chance)
            told, world.done = world.done, Counter()
            for name in (task.__name__, *told.elements()):
                done.write(f"{name}\n")


def fork(incarnation: int, seed: int, deadline: float, notes: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work(incarnation, seed, deadline, notes)
            os._exit(0)
        finally:
            # Reached only by an error.
            traceback.print_exc()
            os._exit(1)
    return pid


def main(seconds: float, seed: int) -> None:
    chance, deadline = random.Random(seed), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory) / "notes"
        living = [fork(number, seed, deadline, notes) for number in range(PROCESSES)]
        started, killed = PROCESSES, 0
        while time.monotonic() + KILL_SECONDS < deadline:
            time.sleep(KILL_SECONDS)
            victim = living.pop(chance.randrange(PROCESSES))
            os.kill(victim, signal.SIGKILL)
            if os.WIFSIGNALED(os.waitpid(victim, 0)[1]):
                killed += 1
            else:
                sys.exit("a process had ended by itself")
            living.append(fork(started, seed, deadline, notes))
            started += 1
        failed = [pid for pid in living if os.waitpid(pid, 0)[1]]
        print({**Counter(notes.read_text().splitlines()), "killed": killed})
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
