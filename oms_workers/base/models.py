"""How large our tables were."""

from peewee import BigAutoField, BigIntegerField, TextField
from playhouse.postgres_ext import DateTimeTZField

from oms_workers.database import Table


class TableSize(Table):
    """A table as it was measured; `bytes` has its indexes in it, and `rows` is an estimate."""

    id = BigAutoField()
    name = TextField()
    measured_at = DateTimeTZField()
    bytes = BigIntegerField()
    rows = BigIntegerField()

    class Meta:
        table_name = "table_sizes"
