"""The thread that ends a process which cannot end by itself.

A process that was told to stop has 30 s for it. Then the platform kills it, without a word. So it ends a
little earlier, whatever it waits for. What was open then is rescued, as when a worker dies.
"""

import faulthandler
import logging
import os
import threading
import time

import dramatiq
from dramatiq.middleware import Middleware

from oms_workers.broker import stopping

logger = logging.getLogger(__name__)

#: Platforms kill 30 s after SIGTERM.
HARD_END_SECONDS = 27.0

#: Who holds the interpreter's lock for so much longer keeps even the thread here from ending the process.
LOCKED_SECONDS = 1.0

#: How often the thread looks.
LOOK_SECONDS = 0.5

_STANDARD_ERROR = 2
_EXIT_STATUS = 1


class Watch:
    """Looks at its process from `start` on. It never ends before the process does."""

    def __init__(self, *, hard_end_seconds: float = HARD_END_SECONDS) -> None:
        self.thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._hard_end_seconds = hard_end_seconds

    def start(self) -> "Watch":
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not stopping.wait(LOOK_SECONDS):
            pass
        end_without_lock(self._hard_end_seconds + LOCKED_SECONDS)
        time.sleep(self._hard_end_seconds)
        logger.critical("It has not ended within %.0f s, and is ended now.", self._hard_end_seconds)
        os._exit(_EXIT_STATUS)


def end_without_lock(seconds: float) -> None:
    """End this process after so long, even if a thread holds the interpreter's lock; say where each was."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STANDARD_ERROR)


class WatchThread(Middleware):
    """A worker process is watched from its boot."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:  # noqa: ARG002
        Watch().start()
