"""The thread that ticks: one in each worker process, beside the threads that work.

Every second it asks PostgreSQL whether the tick is due, on a connection of its own. So neither long runs nor
full queues keep the tick waiting, and any process can take over at once from one that has died.
"""

import logging
import threading

import dramatiq
import redis
from dramatiq.middleware import Middleware

from oms_workers import watch
from oms_workers.broker import Job, stopping
from oms_workers.database import connection_beside_pool, passes
from oms_workers.scheduling import process, tick
from oms_workers.scheduling.operation import TICK

logger = logging.getLogger(__name__)

#: How often a process asks whether the tick is due.
LOOK_SECONDS = 1.0

#: The pause after a look that failed.
PAUSE_SECONDS = 2.0


class Ticker:
    """Keeps looking whether the tick is due, from `start` to `stop`."""

    def __init__(self, *, look_seconds: float = LOOK_SECONDS) -> None:
        self.thread = threading.Thread(target=self._keep_looking, name="ticker", daemon=True)
        self._look_seconds = look_seconds
        self._woken = threading.Event()
        self._ending = False

    def start(self) -> "Ticker":
        self.thread.start()
        return self

    def stop(self) -> None:
        self._ending = True
        self._woken.set()
        self.thread.join(timeout=2)

    def wake(self) -> None:
        """Look at once."""
        self._woken.set()

    def _ends(self) -> bool:
        return self._ending or stopping.is_set()

    def _keep_looking(self) -> None:
        while not self._ends():
            try:
                with connection_beside_pool():
                    while not self._ends():
                        tick.tick_if_due()
                        process.keep_cadences()
                        self._pause(self._look_seconds)
            except Exception as error:
                if passes(error) or isinstance(error, redis.RedisError):
                    logger.warning("The tick waits for its server: %s", error)
                else:
                    logger.exception("The tick failed.")
            self._pause(PAUSE_SECONDS)

    def _pause(self, seconds: float) -> None:
        if not self._ends():
            self._woken.wait(seconds)
            self._woken.clear()


_ticker: Ticker | None = None


def wake() -> None:
    """The tick may be due. A message says no more than that, so it costs its thread no time."""
    if _ticker is not None:
        _ticker.wake()


class TickerThread(Middleware):
    """A worker process has its ticker from its boot until it is told to stop."""

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        global _ticker
        _ticker = Ticker().start()
        watch.over(_ticker.thread)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        global _ticker
        if _ticker is not None:
            _ticker.stop()
        _ticker = None


JOB = Job(TICK, wake, {"time_limit": 60_000})
