"""The thread that ends a process which cannot work on, or cannot end by itself.

A worker whose thread has died looks alive and does less, or nothing. One whose master has died is seen by no
platform. Both are told to stop: what exits is started again.

A process that was told to stop has 30 s for it. Then the platform kills it, without a word. So it ends a
little earlier, whatever it waits for. Its threads say where they
were. What was open then is rescued, as when a worker dies.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

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


def _tell_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Watch:
    """Looks at its process from `start` on. It never ends before the process does.

    `stop` is called once when the process cannot work on.
    """

    def __init__(
        self, *, hard_end_seconds: float = HARD_END_SECONDS, stop: Callable[[], None] = _tell_to_stop
    ) -> None:
        self.problem: str | None = None
        self._hard_end_seconds = hard_end_seconds
        self._stop = stop
        self._parent = os.getppid()
        self._threads: list[threading.Thread] = []

    def start(self) -> "Watch":
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        return self

    def over(self, *threads: threading.Thread) -> None:
        """The process cannot do without these threads."""
        self._threads += threads

    def look(self) -> None:
        """Tell the process to stop, once, if a thread or the master has died."""
        if self.problem is not None:
            return
        dead = [thread.name for thread in self._threads if not thread.is_alive()]
        if dead:
            self.problem = f"its thread {dead[0]} has died"
        elif os.getppid() != self._parent:
            self.problem = "its master has died"
        if self.problem is not None:
            logger.critical("This worker stops because %s.", self.problem)
            self._stop()

    def _watch(self) -> None:
        while not stopping.wait(LOOK_SECONDS):
            self.look()
        end_without_lock(self._hard_end_seconds + LOCKED_SECONDS)
        time.sleep(self._hard_end_seconds)
        logger.critical("It has not ended within %.0f s, and is ended now.", self._hard_end_seconds)
        faulthandler.dump_traceback(file=_STANDARD_ERROR)
        os._exit(_EXIT_STATUS)


def end_without_lock(seconds: float) -> None:
    """End this process after so long, even if a thread holds the interpreter's lock; say where each was."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STANDARD_ERROR)


_watch: Watch | None = None


def over(*threads: threading.Thread) -> None:
    """This worker process cannot do without these threads."""
    if _watch is not None:
        _watch.over(*threads)


class WatchThread(Middleware):
    """A worker process is watched from its boot. One that could not work on ends with status 1."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:  # noqa: ARG002
        global _watch
        _watch = Watch().start()

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        over(*worker.workers, *worker.consumers.values())

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        if _watch is not None and _watch.problem is not None:
            sys.exit(_EXIT_STATUS)
