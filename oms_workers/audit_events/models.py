"""What happened to what: the newer events, the archived ones, and both as one trail."""

from peewee import BigAutoField, BigIntegerField, TextField, UUIDField
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table


class AuditEvent(Table):
    """One thing that happened to one object. It is never changed; one that is old goes to the archive."""

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


class ArchivedAuditEvent(AuditEvent):
    """An event that was moved here, with its own id and uuid."""

    id = BigIntegerField(primary_key=True)
    archived_at = DateTimeTZField()

    class Meta:
        table_name = "archived_audit_events"


class AuditTrail(ArchivedAuditEvent):
    """Every event, archived or not: a view, to be read and never written."""

    archived_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "audit_trail"
