"""The table of the scripts that wait; the history of those that were applied is the runner's own."""

from peewee import TextField
from playhouse.postgres_ext import DateTimeTZField

from oms_workers.database import Table


class MigrationAnnouncement(Table):
    """An after script that is not applied yet, and since when the database knows of it."""

    name = TextField(primary_key=True)
    announced_at = DateTimeTZField()

    class Meta:
        table_name = "migration_announcements"
