"""Indexes that are made while others work."""

import os
import signal
import subprocess
import sys

import psycopg
import pytest

from oms_workers import migrations
from oms_workers.database import connection, execute, rows
from oms_workers.migrations.scripts import ScriptError
from tests.migrations.stage import MIGRATE_FOLDER, PROJECT, Folder, until


def test_an_index_whose_making_was_killed_is_made_anew(released: Folder, released_database: str) -> None:
    released.add_index("9001_before_orders_channel", "'orders_channel', 'orders (channel)'")
    with psycopg.connect(released_database) as other:
        # An index waits for whoever has written to its table.
        other.execute("UPDATE orders SET channel = 'web'")
        first = subprocess.Popen(
            [sys.executable, "-c", MIGRATE_FOLDER, str(released.path)],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        until(lambda: index("orders_channel") == (False,))
        first.send_signal(signal.SIGKILL)
        first.wait()
        # Its backend notices within two seconds.
        until(lambda: not being_built())
    assert index("orders_channel") == (False,)

    assert migrations.migrate() == ["9001_before_orders_channel"]
    assert index("orders_channel") == (True,)


def test_an_index_that_was_made_but_not_recorded_is_left_as_it_is(released: Folder) -> None:
    released.add_index("9001_before_orders_channel", "'orders_channel', 'orders (channel)'")
    migrations.migrate()
    with connection():
        (before,) = rows("SELECT 'orders_channel'::regclass::oid AS oid")
        execute("DELETE FROM schema_migration WHERE left(name, 4) = '9001'")

    assert migrations.migrate() == ["9001_before_orders_channel"]

    with connection():
        assert rows("SELECT 'orders_channel'::regclass::oid AS oid") == [before]


def test_a_unique_index_that_rows_contradict_leaves_nothing_behind(released: Folder) -> None:
    with connection():
        execute("CREATE TABLE shelf (sku text)")
        execute("INSERT INTO shelf VALUES ('CRUNCHY-ARMCHAIR'), ('CRUNCHY-ARMCHAIR')")
    released.add_index("9001_before_shelf_sku", "'shelf_sku', 'shelf (sku)', unique=True")

    with pytest.raises(ScriptError, match=r"shelf_sku cannot be made.*CRUNCHY-ARMCHAIR.*oms migrate"):
        migrations.migrate()
    assert index("shelf_sku") is None

    with connection():
        execute("DELETE FROM shelf WHERE ctid = (SELECT min(ctid) FROM shelf)")
    assert migrations.migrate() == ["9001_before_shelf_sku"]
    assert index("shelf_sku") == (True,)


def test_an_index_is_not_made_concurrently_inside_a_transaction(released: Folder) -> None:
    released.add_index("9001_before_orders_channel", "'orders_channel', 'orders (channel)'")
    script = released.path / "9001_before_orders_channel.py"
    script.write_text(script.read_text().replace("atomic = False", ""))

    with pytest.raises(ScriptError, match=r"orders_channel.*atomic = False"):
        migrations.migrate()


def index(name: str) -> tuple[bool] | None:
    """Whether the index is valid, or None where there is none."""
    with connection():
        found = rows("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,))
    return found[0] if found else None


def being_built() -> bool:
    with connection():
        return bool(rows("SELECT FROM pg_stat_progress_create_index"))
