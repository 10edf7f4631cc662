"""What is wrong, looked at in a thread of its own, so that a silent server does not stop who watches."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from oms_workers.operation.services import ServiceError
from oms_workers.operation.status import collect

logger = logging.getLogger(__name__)

#: Between two looks.
_PAUSE_SECONDS = 2.0

#: In this time the processes that were just started take their locks, and the clock sends its first tick.
_START_SECONDS = 30.0

#: A look takes a fraction of a second while both servers answer.
_STUCK_SECONDS = 5.0


class Health:
    """The newest findings of `oms status --check`, until `ending` is set."""

    def __init__(self, ending: threading.Event) -> None:
        self._ending = ending
        self._started = self._looked_at = time.monotonic()
        self._findings: Sequence[str] = ()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> "Health":
        self._thread.start()
        return self

    def findings(self) -> Sequence[str]:
        """What the last look found, or for how long there has been none."""
        silent = time.monotonic() - self._looked_at
        if silent > _PAUSE_SECONDS + _STUCK_SECONDS:
            return [f"PostgreSQL or Redis has not answered for {silent:.0f} s.", *self._findings]
        return self._findings

    def _watch(self) -> None:
        while not self._ending.is_set():
            self._findings = self._look()
            self._looked_at = time.monotonic()
            self._ending.wait(_PAUSE_SECONDS)

    def _look(self) -> Sequence[str]:
        try:
            found = collect(datetime.now(UTC))
        except ServiceError as error:
            return [str(error)]
        except Exception as error:
            logger.exception("What is wrong cannot be seen.")
            return [f"What is wrong cannot be seen: {type(error).__name__}."]
        starting = time.monotonic() - self._started < _START_SECONDS
        if found["problem"] is not None:
            return [found["problem"]]
        return () if starting else found["findings"]
