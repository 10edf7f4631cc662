"""The ledger's tables."""

from peewee import BigAutoField, BooleanField, IntegerField, TextField
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table


class ScheduledTask(Table):
    """A cadence that a task has or had. Slots before `since` do not exist."""

    id = BigAutoField()
    task = TextField()
    cadence = TextField()
    enabled = BooleanField()
    enabled_at = DateTimeTZField()
    since = DateTimeTZField()
    last_seen = DateTimeTZField()

    class Meta:
        table_name = "scheduled_tasks"


class ScheduledRun(Table):
    """What became of a slot, or of the `slots` slots from `first_slot` to `slot`."""

    id = BigAutoField()
    task = TextField()
    slot = DateTimeTZField()
    first_slot = DateTimeTZField()
    slots = IntegerField(default=1)
    state = TextField()
    reason = TextField(null=True)
    trigger = TextField()
    attempts = IntegerField(default=0)
    next_attempt_at = DateTimeTZField(null=True)
    started_at = DateTimeTZField(null=True)
    finished_at = DateTimeTZField(null=True)
    result = BinaryJSONField(null=True)
    error = TextField(null=True)
    worker = TextField(null=True)

    class Meta:
        table_name = "scheduled_runs"


class Worker(Table):
    """A process that runs tasks; it lives for as long as it holds its advisory lock."""

    id = TextField(primary_key=True)
    host = TextField()
    pid = IntegerField()
    started_at = DateTimeTZField()

    class Meta:
        table_name = "workers"
