"""What a task is given: its time, its budget, and a wait that ends when the run should stop."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from oms_workers.broker import stopping

#: How often a waiting run checks whether it should stop.
_LOOK_SECONDS = 0.5


#: In a run's result: what keeps its task from working, and a person has to mend.
WAITS_FOR = "waits_for"


def waiting_for(problem: str) -> dict[str, str]:
    """The result of a run that has nothing to retry, since a person has to mend something first.

    `oms status` shows it as a finding for as long as it is the task's last run.
    """
    return {WAITS_FOR: problem}


class Run:
    """One run of a task.

    `now` is PostgreSQL's time at its start, and `slot` the slot that it is the run of. A task works in
    batches. Between two batches it asks `should_stop()`, and returns what it has done if that is true.
    """

    def __init__(
        self,
        now: datetime,
        *,
        budget: timedelta,
        slot: datetime | None = None,
        lost: Callable[[], bool] = lambda: False,
        taken: Callable[[], bool] = lambda: False,
    ) -> None:
        self.now = now
        self.slot = slot or now
        self.stopped_by: str | None = None
        self._budget = budget
        self._lost = lost
        self._taken = taken
        self._deadline = time.monotonic() + budget.total_seconds()

    def should_stop(self) -> bool:
        """Whether to stop at this batch's end; `stopped_by` then says why. The rest is left for later."""
        if stopping.is_set():
            self.stopped_by = "stopped at a batch's end: the process was told to stop"
        elif time.monotonic() > self._deadline:
            self.stopped_by = f"stopped at a batch's end: its {self._budget.total_seconds():.0f} s were spent"
        elif self._taken():
            self.stopped_by = "stopped at a batch's end: another worker took the run over"
        elif self._lost():
            self.stopped_by = "stopped at a batch's end: the worker lost its liveness lock"
        return self.stopped_by is not None

    def seconds_left(self) -> float:
        """How much of the budget is left."""
        return max(0.0, self._deadline - time.monotonic())

    def wait(self, seconds: float) -> bool:
        """Wait, if the budget is long enough. False where it is not, or where the run has to stop."""
        if seconds > self.seconds_left():
            return False
        until = time.monotonic() + seconds
        while not self.should_stop():
            left = until - time.monotonic()
            if left <= 0:
                return True
            stopping.wait(min(left, _LOOK_SECONDS))
        return False
