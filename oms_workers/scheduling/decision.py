"""What to do about a task's newest due slot: one pure function, for messages and tick alike."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from oms_workers.configuration.cadence import Cadence

#: The most runs of one slot that end by themselves. The last of them is not followed by another.
MAX_ATTEMPTS = 4

#: The most runs of one slot that are ended from outside. Nobody can tell which of a worker's runs has killed
#: it, so a death is not charged as an attempt. But the run that kills its workers must not go on for ever.
MAX_INTERRUPTIONS = 10

#: The least waits after the first, second and third failed attempt. The tick that follows the wait sends the
#: slot again. It looks half a minute after the full one, where most slots lie. So each wait is 10 s or 20 s
#: short of a tick's time: what fails in the first seconds is sent 30 s, 2 min and 10 min later.
BACKOFF = (timedelta(seconds=10), timedelta(seconds=110), timedelta(seconds=590))

#: A retry that lies further ahead was written by a clock that was ahead.
_LONGEST_WAIT = BACKOFF[-1] + timedelta(minutes=1)


class Verdict(StrEnum):
    """What to do with a slot now. `STALE` and `DISABLED` are also reasons of a skip in the ledger."""

    RUN = "run"
    STALE = "stale"
    DISABLED = "disabled"
    NOTHING = "nothing"


class Row(Protocol):
    """The columns of a ledger row that the decision reads."""

    @property
    def slot(self) -> datetime: ...
    @property
    def state(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def interruptions(self) -> int: ...
    @property
    def next_attempt_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class Decision:
    """A verdict on the newest due slot, which is None where none has come due yet."""

    verdict: Verdict
    slot: datetime | None = None


def newest_slot(cadence: Cadence, since: datetime, now: datetime) -> datetime | None:
    """The newest slot that has come due, or None where it lies before `since`."""
    slot = cadence.latest(now)
    return slot if slot >= since else None


def decide(
    cadence: Cadence, since: datetime, *, enabled: bool, row: Row | None, now: datetime, catch_up: timedelta
) -> Decision:
    """Decide about the newest due slot, given the ledger's `row` that accounts for it, if there is one.

    Older slots that no row accounts for are not run. They are recorded together with the newest one.
    """
    slot = newest_slot(cadence, since, now)
    if slot is None:
        return Decision(Verdict.NOTHING)
    if row is not None:
        again = enabled and now - slot <= catch_up and _is_due_again(row, slot, now)
        return Decision(Verdict.RUN if again else Verdict.NOTHING, slot)
    if not enabled:
        return Decision(Verdict.DISABLED, slot)
    return Decision(Verdict.STALE if now - slot > catch_up else Verdict.RUN, slot)


def _is_due_again(row: Row, slot: datetime, now: datetime) -> bool:
    return (
        row.slot == slot
        and row.state == "failed"
        and row.attempts - row.interruptions < MAX_ATTEMPTS
        and row.interruptions < MAX_INTERRUPTIONS
        and row.next_attempt_at is not None
        and not now < row.next_attempt_at <= now + _LONGEST_WAIT
    )


def retry_at(failures: int, now: datetime) -> datetime | None:
    """When a slot whose runs have failed `failures` times by themselves is tried again, or None."""
    return now + BACKOFF[failures - 1] if failures < MAX_ATTEMPTS else None
