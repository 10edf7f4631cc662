"""The models say what the scripts have made."""

import importlib
import pkgutil

from peewee import Model

import oms_workers
from oms_workers.audit_events.models import AuditTrail
from oms_workers.database import Table, rows

#: Models of what is read like a table and is none.
VIEWS = (AuditTrail,)


def models() -> list[type[Model]]:
    for module in pkgutil.walk_packages(oms_workers.__path__, "oms_workers."):
        if module.name.endswith(".models"):
            importlib.import_module(module.name)
    return _below(Table)


def _below(model: type[Model]) -> list[type[Model]]:
    return [each for direct in model.__subclasses__() for each in (direct, *_below(direct))]


def test_every_model_has_the_columns_of_its_table(db: None) -> None:
    for model in models():
        name = model._meta.table_name
        fields = {field.column_name: field.null for field in model._meta.sorted_fields}
        columns = rows(
            """
            SELECT column_name, is_nullable = 'YES' AS nullable
            FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name = %s
            """,
            (name,),
        )
        found = dict(columns)
        if model in VIEWS:
            # PostgreSQL takes every column of a view for one that may be null.
            fields, found = dict.fromkeys(fields), dict.fromkeys(found)
        assert fields == found, name


def test_every_table_has_a_model(db: None) -> None:
    tables = rows(
        """
        SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'
        UNION ALL
        SELECT viewname FROM pg_views WHERE schemaname = 'public'
        """
    )

    assert sorted(table.tablename for table in tables) == sorted(model._meta.table_name for model in models())


def test_every_foreign_key_is_indexed(db: None) -> None:
    """What is looked up, or deleted, by its parent must not be searched for in the whole table."""
    unindexed = rows(
        """
        SELECT conrelid::regclass AS "table", conname
        FROM pg_constraint
        WHERE contype = 'f' AND connamespace = 'public'::regnamespace
          -- Locations are never deleted, nor is anything found by them alone.
          AND confrelid::regclass::text <> 'locations'
          AND NOT EXISTS (
              SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1]
          )
        """
    )

    assert unindexed == []
