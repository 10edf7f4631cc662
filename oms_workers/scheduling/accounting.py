"""The slots that nobody has run, as one row of the ledger."""

from datetime import datetime, timedelta
from typing import NamedTuple

from oms_workers.configuration.cadence import Cadence
from oms_workers.scheduling import runs
from oms_workers.scheduling.decision import Decision, Verdict, decide, newest_slot
from oms_workers.scheduling.models import SkipReason, Trigger
from oms_workers.scheduling.runs import CoveringRow

_MOMENT = timedelta(microseconds=1)


class Judgement(NamedTuple):
    """What to do about a task's newest due slot, and the row that already accounts for it, if any."""

    decision: Decision
    covering: CoveringRow | None


class Missed(NamedTuple):
    """How many slots nothing accounts for, and the first and the last of them."""

    first: datetime
    last: datetime
    slots: int


def missed_before(task: str, cadence: Cadence, slot: datetime, since: datetime) -> Missed | None:
    """The slots before `slot` that nothing accounts for, or None. They are the newest ones."""
    before = runs.newest_slot_before(task, slot)
    after = since - _MOMENT if before is None else max(before, since - _MOMENT)
    first = cadence.next(after)
    if first >= slot:
        return None
    last = cadence.latest(slot - _MOMENT)
    return Missed(first, last, cadence.count(first, last))


def judge(
    task: str, cadence: Cadence, since: datetime, *, enabled: bool, now: datetime, catch_up: timedelta
) -> Judgement:
    """Decide about the task's newest due slot by its row of the ledger."""
    slot = newest_slot(cadence, since, now)
    row = runs.covering(task, slot) if slot else None
    return Judgement(decide(cadence, since, enabled=enabled, row=row, now=now, catch_up=catch_up), row)


def account_for(
    task: str, cadence: Cadence, since: datetime, *, enabled: bool, now: datetime, catch_up: timedelta
) -> None:
    """Write one row for the slots up to `now` that nothing accounts for, when the cadence ends here.

    The newest of them is not run: a slot of the cadence that comes next is run instead.
    """
    decision, covering = judge(task, cadence, since, enabled=enabled, now=now, catch_up=catch_up)
    if decision.slot is None or covering is not None:
        return
    reason = SkipReason.COALESCED if decision.verdict is Verdict.RUN else SkipReason(decision.verdict.value)
    skip_with_older(task, cadence, decision.slot, since, Trigger.TICK, reason)


def skip_with_older(
    task: str, cadence: Cadence, slot: datetime, since: datetime, trigger: Trigger, reason: SkipReason
) -> None:
    """Write one row for a slot and for the older ones that nothing accounts for."""
    missed = missed_before(task, cadence, slot, since)
    first, older = (missed.first, missed.slots) if missed else (slot, 0)
    runs.skip(task, slot, trigger, reason, first, older + 1)
