"""What to do about a task's newest due slot: one pure function, for messages and tick alike."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from oms_workers.configuration.cadence import Cadence

#: The most runs of one slot, those after a worker's death included.
MAX_ATTEMPTS = 4

#: Waits after the first, second and third failed attempt.
BACKOFF = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))


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
        and row.attempts < MAX_ATTEMPTS
        and row.next_attempt_at is not None
        and row.next_attempt_at <= now
    )


def retry_at(attempts: int, now: datetime) -> datetime | None:
    """When a slot that has failed `attempts` times is tried again, or None when it is not."""
    return now + BACKOFF[attempts - 1] if attempts < MAX_ATTEMPTS else None
