"""Migrations: applied once whoever comes, and the models say what they made."""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from peewee import Model
from psycopg import sql

import oms_workers
import settings
from oms_workers import migrations
from oms_workers.database import Table, connection_parameters, database, execute, rows

PROJECT = Path(settings.__file__).parent


@pytest.fixture
def empty_database(db: None) -> Iterator[str]:
    """The address of a database without a schema."""
    assert settings.current().database_url is not None
    url = settings.current().database_url.get_secret_value()  # type: ignore[union-attr]
    (current,) = rows("SELECT current_database() AS name")
    name = sql.Identifier(f"{current.name}_empty")
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield url.replace(f"/{current.name}?", f"/{current.name}_empty?")
        administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_two_releases_at_once_migrate_once(empty_database: str) -> None:
    releases = [
        subprocess.Popen(
            [sys.executable, "-m", "oms_workers", "migrate"],
            env={**os.environ, "DATABASE_URL": empty_database, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]

    said = [release.communicate(timeout=60)[0] for release in releases]

    assert [release.returncode for release in releases] == [0, 0], said
    for script in scripts():
        assert sum(script in text for text in said) == 1, said
    with psycopg.connect(empty_database) as session:
        assert session.execute("SELECT count(*) FROM schema_migration").fetchone() == (len(scripts()),)


def scripts() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(migrations.__path__) if module.name[:4].isdigit()]


def test_what_was_not_applied_is_pending(db: None) -> None:
    assert migrations.pending() == []

    with database.atomic() as changes:
        execute("DELETE FROM schema_migration WHERE left(name, 4) = '0003'")
        assert [name[:4] for name in migrations.pending()] == ["0003"]
        changes.rollback()


def test_a_release_that_waits_too_long_says_who_is_in_the_way(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_PATIENCE_SECONDS", 0)
    with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (migrations.LOCK_KEY,))

        with pytest.raises(migrations.MigrationBusyError, match="oms migrate"):
            migrations.migrate()


def models() -> list[type[Model]]:
    for module in pkgutil.walk_packages(oms_workers.__path__, "oms_workers."):
        if module.name.endswith(".models"):
            importlib.import_module(module.name)
    return Table.__subclasses__()


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
        assert fields == dict(columns), name


def test_every_table_has_a_model(db: None) -> None:
    tables = rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'"
    )

    assert sorted(table.tablename for table in tables) == sorted(model._meta.table_name for model in models())


def test_every_foreign_key_is_indexed(db: None) -> None:
    """What is looked up, or deleted, by its parent must not be searched for in the whole table."""
    unindexed = rows(
        """
        SELECT conrelid::regclass AS "table", conname
        FROM pg_constraint
        WHERE contype = 'f' AND connamespace = 'public'::regnamespace
          -- Locations and plans are never deleted, nor is anything found by them alone.
          AND confrelid::regclass::text NOT IN ('locations', 'order_execution_plans')
          AND NOT EXISTS (
              SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1]
          )
        """
    )

    assert unindexed == []
