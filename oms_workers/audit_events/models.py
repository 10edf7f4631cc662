"""What happened to what."""

from peewee import BigAutoField, BigIntegerField, TextField, UUIDField
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table


class AuditEvent(Table):
    """One thing that happened to one object; rows are only ever added."""

    id = BigAutoField()
    uuid = UUIDField()
    at = DateTimeTZField()
    actor = TextField()
    object_type = TextField()
    object_id = BigIntegerField()
    action = TextField()
    content = BinaryJSONField()

    class Meta:
        table_name = "audit_events"
