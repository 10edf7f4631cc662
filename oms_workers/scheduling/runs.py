"""The rows of `scheduled_runs`: what the ledger reads and writes of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from peewee import IntegrityError, fn

from oms_workers.backlog import first_rows
from oms_workers.database import transaction
from oms_workers.scheduling.liveness import holds_lock
from oms_workers.scheduling.models import RunState, ScheduledRun, SkipReason, Trigger
from oms_workers.sets import among, columns_of, exists, fetch, fetch_one, not_among


@dataclass(frozen=True)
class Attempt:
    """A running row and the right to end it. `attempts` and `started_at` tell it from earlier attempts.

    `interruptions` of the attempts before it were ended from outside.
    """

    id: int
    task: str
    slot: datetime
    attempts: int
    interruptions: int
    worker: str
    started_at: datetime
    trigger: Trigger

    @property
    def manual(self) -> bool:
        """Whether a person asked for it. Then it is never run again by itself."""
        return self.trigger is Trigger.MANUAL


class CoveringRow(NamedTuple):
    """A row that accounts for the slots from `first_slot` to `slot`."""

    id: int
    slot: datetime
    first_slot: datetime
    state: RunState
    attempts: int
    interruptions: int
    next_attempt_at: datetime | None


class LastRun(NamedTuple):
    """What `oms status` shows of a task's last run."""

    slot: datetime
    state: RunState
    reason: SkipReason | None
    trigger: Trigger
    attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None
    error: str | None
    worker: str | None


class ListedRun(NamedTuple):
    """A run in a list; `total` is how many there are."""

    task: str
    slot: datetime
    state: RunState
    reason: SkipReason | None
    trigger: Trigger
    attempts: int
    next_attempt_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    total: int


def covering(task: str, slot: datetime) -> CoveringRow | None:
    """The row that accounts for the slot, alone or as one of a range; by the unique index on (task, slot)."""
    query = (
        ScheduledRun.select(*columns_of(ScheduledRun, CoveringRow))
        .where(
            ScheduledRun.task == task,
            ScheduledRun.slot >= slot,
            ScheduledRun.trigger != Trigger.MANUAL,
        )
        .order_by(ScheduledRun.slot)
        .limit(1)
    )
    found = fetch_one(query, CoveringRow)
    return found if found is not None and found.first_slot <= slot else None


def newest_slot_before(task: str, slot: datetime) -> datetime | None:
    """The newest slot before this one that a row accounts for; by the unique index on (task, slot)."""
    query = ScheduledRun.select(fn.MAX(ScheduledRun.slot)).where(
        ScheduledRun.task == task,
        ScheduledRun.slot < slot,
        ScheduledRun.trigger != Trigger.MANUAL,
    )
    newest: datetime | None = query.scalar()
    return newest


def has_living_run(task: str) -> bool:
    """Whether the task has a run whose worker lives. The tick decides about a worker that may be dead."""
    return exists(
        ScheduledRun.select(ScheduledRun.id).where(
            ScheduledRun.task == task,
            among(ScheduledRun.state, [RunState.RUNNING]),
            holds_lock(ScheduledRun.worker),
        )
    )


def start(task: str, slot: datetime | None, trigger: Trigger, worker: str) -> Attempt | None:
    """A new running row, unless another run of the task is running. Without a slot, the slot is its start."""
    # Unlike `clock_timestamp()` it stays the same throughout a statement, so the slot can equal the start.
    now = fn.statement_timestamp()
    query = ScheduledRun.insert(
        task=task,
        slot=slot or now,
        first_slot=slot or now,
        state=RunState.RUNNING,
        trigger=trigger,
        attempts=1,
        started_at=now,
        worker=worker,
    )
    return fetch_one(query.on_conflict_ignore().returning(*columns_of(ScheduledRun, Attempt)), Attempt)


def start_again(failed: CoveringRow, worker: str) -> Attempt | None:
    """The failed row as a running one, unless another run is running or another claim took it first."""
    query = (
        ScheduledRun.update(
            state=RunState.RUNNING,
            attempts=ScheduledRun.attempts + 1,
            next_attempt_at=None,
            error=None,
            started_at=fn.clock_timestamp(),
            finished_at=None,
            worker=worker,
        )
        .where(
            ScheduledRun.id == failed.id,
            ScheduledRun.state == RunState.FAILED,
            ScheduledRun.attempts == failed.attempts,
        )
        .returning(*columns_of(ScheduledRun, Attempt))
    )
    try:
        with transaction():
            return fetch_one(query, Attempt)
    except IntegrityError:
        return None


def skip(
    task: str, slot: datetime, trigger: Trigger, reason: SkipReason, first: datetime, slots: int
) -> None:
    ScheduledRun.insert(
        task=task,
        slot=slot,
        first_slot=first,
        slots=slots,
        state=RunState.SKIPPED,
        reason=reason,
        trigger=trigger,
        finished_at=fn.clock_timestamp(),
        result={"slots": slots, "first": first.isoformat(), "last": slot.isoformat()},
    ).on_conflict_ignore().returning().execute()


class Ending(NamedTuple):
    """How a run ends, and how many attempts are charged to its row."""

    state: RunState
    result: dict[str, Any] | None
    error: str | None
    next_attempt_at: datetime | None
    attempts: int


def end(attempt: Attempt, ending: Ending) -> bool:
    """End the attempt's row. False where the row no longer belongs to the attempt."""
    changed: int = (
        ScheduledRun.update(finished_at=fn.clock_timestamp(), **ending._asdict())
        .where(
            ScheduledRun.id == attempt.id,
            ScheduledRun.state == RunState.RUNNING,
            ScheduledRun.attempts == attempt.attempts,
            ScheduledRun.worker == attempt.worker,
            # After an early stop the next attempt has the same number, but another start.
            ScheduledRun.started_at == attempt.started_at,
        )
        .execute()
    )
    return changed == 1


def running(task: str) -> LastRun | None:
    """The task's running row, by the partial index of running rows."""
    return fetch_one(_select_last_run(task).where(among(ScheduledRun.state, [RunState.RUNNING])), LastRun)


def newest_of_its_own(task: str) -> LastRun | None:
    """The task's newest row that was not skipped because of another run; by the index on (task, slot)."""
    because_of_another = [SkipReason.OVERLAP, SkipReason.COALESCED]
    query = (
        _select_last_run(task)
        .where(ScheduledRun.reason.is_null() | not_among(ScheduledRun.reason, because_of_another))
        .order_by(ScheduledRun.slot.desc())
        .limit(1)
    )
    return fetch_one(query, LastRun)


def newest_runs(
    states: Iterable[RunState], *, task: str | None, since: datetime | None, limit: int
) -> list[ListedRun]:
    """The newest runs in these states, of one task or of all, whose slots are at or after `since`.

    By the index on slot, or the one on (task, slot).
    """
    conditions = [among(ScheduledRun.state, states)]
    conditions += [ScheduledRun.task == task] if task is not None else []
    conditions += [ScheduledRun.slot >= since] if since is not None else []
    order = (ScheduledRun.slot.desc(), ScheduledRun.id.desc())
    page = first_rows(ScheduledRun, order, *conditions, limit=limit)
    columns = [getattr(ScheduledRun, name) for name in ListedRun._fields[:-1]]
    query = ScheduledRun.select(*columns, page.c.total).join(page, on=page.c.id == ScheduledRun.id)
    return fetch(query.order_by(page.c.position), ListedRun)


def _select_last_run(task: str) -> Any:
    return ScheduledRun.select(*columns_of(ScheduledRun, LastRun)).where(ScheduledRun.task == task)
