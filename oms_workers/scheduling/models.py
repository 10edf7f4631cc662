"""The ledger's tables and the states of their rows."""

from enum import StrEnum

from peewee import BigAutoField, BigIntegerField, BooleanField, IntegerField, TextField
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table
from oms_workers.sets import NameField


class RunState(StrEnum):
    """What became of a slot so far."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class SkipReason(StrEnum):
    """Why a slot was skipped.

    `OVERLAP`: another run of the task was running. `COALESCED`: a newer slot was run instead. `STALE`: it was
    too old to be run. `DISABLED`: the task was disabled.
    """

    OVERLAP = "overlap"
    COALESCED = "coalesced"
    STALE = "stale"
    DISABLED = "disabled"


class Trigger(StrEnum):
    """Who asked for a run: the clock's message, the tick's message, or a person."""

    PERIODIQ = "periodiq"
    TICK = "tick"
    MANUAL = "manual"


class ScheduledTask(Table):
    """A cadence that a task has or had. Slots before `since` do not exist.

    The one with the highest `generation` is in effect.
    """

    id = BigAutoField()
    task = TextField()
    cadence = TextField()
    enabled = BooleanField()
    since = DateTimeTZField()
    last_seen = DateTimeTZField()
    generation = BigIntegerField(default=0)

    class Meta:
        table_name = "scheduled_tasks"


class TaskConfiguration(Table):
    """A cadence and a switch that some process was given for a task: the higher `generation` is the newer."""

    id = BigAutoField()
    task = TextField()
    cadence = TextField()
    enabled = BooleanField()
    generation = BigIntegerField()
    last_seen = DateTimeTZField(null=True)
    alone_since = DateTimeTZField(null=True)

    class Meta:
        table_name = "task_configurations"


class ScheduledRun(Table):
    """What became of a slot, or of the `slots` slots from `first_slot` to `slot`.

    `attempts` counts every start, and `interruptions` those that were ended from outside.
    """

    id = BigAutoField()
    task = TextField()
    slot = DateTimeTZField()
    first_slot = DateTimeTZField()
    slots = IntegerField(default=1)
    state = NameField(RunState)
    reason = NameField(SkipReason, null=True)
    trigger = NameField(Trigger)
    attempts = IntegerField(default=0)
    interruptions = IntegerField(default=0)
    next_attempt_at = DateTimeTZField(null=True)
    started_at = DateTimeTZField(null=True)
    finished_at = DateTimeTZField(null=True)
    result = BinaryJSONField(null=True)
    error = TextField(null=True)
    worker = TextField(null=True)

    class Meta:
        table_name = "scheduled_runs"


class Worker(Table):
    """A process that runs tasks. It lives for as long as it holds its advisory lock."""

    id = TextField(primary_key=True)
    host = TextField()
    pid = IntegerField()
    started_at = DateTimeTZField()

    class Meta:
        table_name = "workers"
