"""The configurations that this deployment knows, and the cadence of each task that is in effect.

One cadence of a task is in effect. Every process claims by it, whatever its own configuration is, so that the
slots of a deploy are accounted for too. The newer configuration wins, see `succession`. Slots before `since`
do not exist. A cadence counts from the moment at which it takes effect, or is enabled again. Whoever puts
another one in effect accounts for the slots of the one before, in the same transaction.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from peewee import Select, fn

from oms_workers.configuration import written_cadence
from oms_workers.configuration.cadence import Cadence
from oms_workers.configuration.crontab_fields import CadenceError
from oms_workers.database import database, database_now, retry_transient, transaction
from oms_workers.scheduling import accounting, clocks, configurations
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.models import ScheduledTask, TaskConfiguration
from oms_workers.scheduling.succession import alone_since, takes_effect
from oms_workers.sets import column, fetch_one, for_change

logger = logging.getLogger(__name__)

#: The class of the locks that let the claims and changes of one task follow one another ("omst").
LOCK_CLASS = 0x6F6D7374


class KnownCadence(NamedTuple):
    """A task's cadence in effect, and PostgreSQL's time `now`."""

    cadence: Cadence
    since: datetime
    enabled: bool
    now: datetime


class _InEffect(NamedTuple):
    """The row of `scheduled_tasks` that is in effect, and PostgreSQL's time `now`."""

    cadence: str
    since: datetime
    enabled: bool
    generation: int
    now: datetime


def find(plan: TaskPlan) -> KnownCadence | None:
    """The task's cadence in effect, or None where there is none, or none that this release knows."""
    current = fetch_one(_select_in_effect(plan.task), _InEffect)
    return None if current is None else _known(plan, current)


def lock(plan: TaskPlan) -> KnownCadence | None:
    """The task's cadence in effect, locked until the transaction ends; the plan's is recorded where none is.

    Claims of one task follow one another by this lock. None where this release does not know the cadence,
    or where the clocks differ.
    """
    _lock(plan.task)
    query = for_change(_select_in_effect(plan.task))
    current = fetch_one(query, _InEffect)
    if current is None:
        record([plan])
        current = fetch_one(query, _InEffect)
        if current is None:
            return None
    # Another transaction may have held the lock for a while, so the time is read again.
    return _known(plan, current._replace(now=database_now()))


def _known(plan: TaskPlan, current: _InEffect) -> KnownCadence | None:
    cadence = plan.cadence if str(plan.cadence) == current.cadence else _read(plan.task, current.cadence)
    return None if cadence is None else KnownCadence(cadence, current.since, current.enabled, current.now)


def _read(task: str, text: str) -> Cadence | None:
    try:
        return written_cadence.read(text)
    except CadenceError as error:
        logger.warning("The cadence of %s is left to newer processes: %s.", task, error)
        return None


def _select_in_effect(task: str) -> Any:
    """The query for the cadence with the highest generation, by the unique index on (task, cadence).

    Where no process of this release was ever started, it is the one that was seen last.
    """
    return (
        ScheduledTask.select(
            ScheduledTask.cadence,
            ScheduledTask.since,
            ScheduledTask.enabled,
            ScheduledTask.generation,
            fn.clock_timestamp().alias("now"),
        )
        .where(ScheduledTask.task == task)
        .order_by(ScheduledTask.generation.desc(), ScheduledTask.last_seen.desc())
        .limit(1)
    )


def _lock(task: str) -> None:
    """Let other claims and changes of the task wait until this transaction ends."""
    column(Select([], [fn.pg_advisory_xact_lock(LOCK_CLASS, fn.hashtext(task))]).bind(database))


def last_seen(task: str) -> datetime | None:
    """When a process last said that it runs the task, with whatever cadence."""
    query = ScheduledTask.select(fn.MAX(ScheduledTask.last_seen)).where(ScheduledTask.task == task)
    moment: datetime | None = query.scalar()
    return moment


def see(task: str, cadence: Cadence) -> None:
    """Note that a task was run whose slots are in no ledger."""
    ScheduledTask.insert(
        task=task,
        cadence=str(cadence),
        enabled=True,
        since=fn.clock_timestamp(),
        last_seen=fn.clock_timestamp(),
    ).on_conflict(
        conflict_target=[ScheduledTask.task, ScheduledTask.cadence], preserve=[ScheduledTask.last_seen]
    ).returning().execute()


def announce(plans: Iterable[TaskPlan]) -> None:
    """Make these the newest configurations, which take effect when a process runs them.

    Only a task that has none yet counts from now. A release that migrates may still be refused, so it must
    not enable or disable a task.
    """
    for plan in plans:
        with transaction():
            _lock(plan.task)
            generation = configurations.make_newest(plan)
            if fetch_one(_select_in_effect(plan.task), _InEffect) is None:
                _put_in_effect(plan, generation, None, database_now())


def record(plans: Iterable[TaskPlan]) -> list[TaskPlan] | None:
    """Say which configurations this process runs, at its start and each minute; newer ones take effect.

    Returns the plans that are older than what is in effect. While the clocks differ, nothing is recorded, and
    None is returned: a cadence would count from a moment that may lie in the future.
    """
    if not clocks.agree(database_now()):
        return None
    plans = [*plans]
    tasks_in_effect = _tasks_in_effect(plans)
    if tasks_in_effect:
        # Two processes that start at once may lock the rows in different orders.
        retry_transient(lambda: _see([plan for plan in plans if plan.task in tasks_in_effect]))
    return [plan for plan in plans if plan.task not in tasks_in_effect and not _record(plan)]


def _tasks_in_effect(plans: list[TaskPlan]) -> set[str]:
    """The tasks of which the plan's configuration is in effect already."""
    run, newer = configurations.as_rows(plans), ScheduledTask.alias("newer")
    a_newer_one = newer.select(newer.id).where(
        newer.task == ScheduledTask.task, newer.generation > ScheduledTask.generation
    )
    query = (
        ScheduledTask.select(ScheduledTask.task)
        .join(run, on=run.matches(ScheduledTask, "task", "cadence", "enabled"))
        .join(
            TaskConfiguration,
            on=(
                (TaskConfiguration.task == ScheduledTask.task)
                & (TaskConfiguration.cadence == ScheduledTask.cadence)
                & (TaskConfiguration.enabled == ScheduledTask.enabled)
                & (TaskConfiguration.generation == ScheduledTask.generation)
            ),
        )
        .where(~fn.EXISTS(a_newer_one))
    )
    return {*column(query)}


def _see(plans: list[TaskPlan]) -> None:
    """Note that these configurations are run."""
    run = configurations.as_rows(plans)
    ScheduledTask.update(last_seen=fn.clock_timestamp()).from_(run).where(
        run.matches(ScheduledTask, "task", "cadence")
    ).execute()
    TaskConfiguration.update(last_seen=fn.clock_timestamp(), alone_since=None).from_(run).where(
        run.matches(TaskConfiguration, "task", "cadence", "enabled")
    ).execute()


def _record(plan: TaskPlan) -> bool:
    """Note that the plan's configuration is run. It takes effect where it is the newer one; False else."""
    with transaction():
        _lock(plan.task)
        own = configurations.standing(plan)
        current = fetch_one(for_change(_select_in_effect(plan.task)), _InEffect)
        now = database_now()
        generation = configurations.make_newest(plan) if own is None else own.generation
        if own is not None and current is not None and own.generation < current.generation:
            alone = alone_since(own, configurations.standing_of(plan.task, current.generation), now)
            if not takes_effect(own.generation, current.generation, alone, now):
                configurations.change(plan, last_seen=now, alone_since=alone)
                return False
            generation = configurations.make_newest(plan)
        configurations.change(plan, last_seen=now, alone_since=None)
        _put_in_effect(plan, generation, current, now)
        return True


def _put_in_effect(plan: TaskPlan, generation: int, current: _InEffect | None, now: datetime) -> None:
    """Make the plan's configuration the one in effect, and account for the slots of the one before."""
    since = now
    if current is not None:
        if (current.cadence, current.enabled) != (str(plan.cadence), plan.enabled):
            _account_for(plan, current, now)
        if current.cadence == str(plan.cadence) and (current.enabled or not plan.enabled):
            since = current.since
    row = {"enabled": plan.enabled, "since": since, "generation": generation, "last_seen": now}
    ScheduledTask.insert(task=plan.task, cadence=str(plan.cadence), **row).on_conflict(
        conflict_target=[ScheduledTask.task, ScheduledTask.cadence], update=row
    ).returning().execute()


def _account_for(plan: TaskPlan, current: _InEffect, now: datetime) -> None:
    """The slots that are left are `disabled` where the plan disables the task: nothing is run instead."""
    cadence = _read(plan.task, current.cadence)
    if cadence is not None:
        accounting.account_for(
            plan.task,
            cadence,
            current.since,
            enabled=current.enabled and plan.enabled,
            now=now,
            catch_up=plan.catch_up,
        )
