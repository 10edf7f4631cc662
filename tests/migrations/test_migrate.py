"""Scripts are applied once whoever comes, each at its time."""

import os
import subprocess
import sys

import psycopg
import pytest

import settings
from oms_workers import migrations
from oms_workers.cli.migrate import migrate as oms_migrate
from oms_workers.database import connection, connection_parameters, database, execute
from oms_workers.scheduling import process
from oms_workers.scheduling.succession import REPLACED_AFTER
from tests.migrations.stage import (
    PROJECT,
    Folder,
    announced_ago,
    announced_names,
    applied_names,
    scripts,
    waiting_names,
)


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
        assert sum(f"applied {script}" in text for text in said) == 1, said
    with psycopg.connect(empty_database) as session:
        assert session.execute("SELECT count(*) FROM schema_migration").fetchone() == (len(scripts()),)


def test_a_new_database_gets_every_script_in_order_at_once(new: Folder) -> None:
    new.add("9001_before_shelf", "CREATE TABLE shelf (sku text, place text)")
    new.add("9002_after_shelf_place", "ALTER TABLE shelf DROP COLUMN place")
    new.add("9003_before_shelf_note", "ALTER TABLE shelf ADD COLUMN note text")

    applied = migrations.migrate()

    assert applied == [*scripts(), "9001_before_shelf", "9002_after_shelf_place", "9003_before_shelf_note"]
    assert applied_names() == applied
    assert waiting_names() == announced_names() == []


def test_a_script_for_after_the_deploy_waits_while_the_previous_release_may_run(released: Folder) -> None:
    released.add("9001_before_shelf", "CREATE TABLE shelf (sku text, place text)")
    released.add("9002_after_shelf_place", "ALTER TABLE shelf DROP COLUMN place")
    released.add("9003_before_shelf_note", "ALTER TABLE shelf ADD COLUMN note text")

    assert migrations.migrate() == ["9001_before_shelf", "9003_before_shelf_note"]
    assert migrations.migrate() == []
    assert waiting_names() == ["9002_after_shelf_place"]
    with connection():
        assert migrations.pending() == []


def test_it_is_applied_by_a_release_ten_minutes_after_it_was_announced(released: Folder) -> None:
    released.add("9001_after_orders_priority", "ALTER TABLE orders DROP COLUMN priority CASCADE")
    migrations.migrate()

    announced_ago("9001_after_orders_priority", "9 minutes 55 seconds")
    assert migrations.migrate() == []
    announced_ago("9001_after_orders_priority", "10 minutes")
    assert migrations.migrate() == ["9001_after_orders_priority"]

    assert applied_names()[-1] == "9001_after_orders_priority"
    assert waiting_names() == announced_names() == []
    assert migrations.migrate() == []


def test_a_release_that_was_refused_after_it_migrated_has_announced_nothing(released: Folder) -> None:
    released.add("9001_after_orders_priority")

    migrations.migrate()

    assert announced_names() == []


def test_a_process_announces_at_its_start(released: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    released.add("9001_after_orders_priority")
    monkeypatch.setattr(process, "_recorded", False)

    process.record_cadences()

    assert announced_names() == ["9001_after_orders_priority"]


def test_the_scripts_after_keep_their_order_among_themselves(released: Folder) -> None:
    released.add("9002_after_shelf_place")
    migrations.migrate()
    announced_ago("9002_after_shelf_place", "1 day")
    released.add("9001_after_shelf")

    assert migrations.migrate() == []
    announced_ago("9001_after_shelf", "1 day")
    assert migrations.migrate() == ["9001_after_shelf", "9002_after_shelf_place"]


def test_a_release_that_is_taken_back_takes_its_announcements_back(released: Folder) -> None:
    released.add("9001_after_orders_priority")
    migrations.migrate()
    announced_ago("9001_after_orders_priority", "1 day")

    released.remove("9001_after_orders_priority")
    assert migrations.migrate() == []
    released.add("9001_after_orders_priority")

    assert migrations.migrate() == []


def test_an_operator_applies_what_waits_at_once(released: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    released.add("9001_after_orders_priority", "ALTER TABLE orders DROP COLUMN priority CASCADE")

    oms_migrate()
    first = capsys.readouterr().out
    with connection():
        migrations.announce()
    oms_migrate()
    started = capsys.readouterr().out
    oms_migrate(after=True)
    second = capsys.readouterr().out

    assert first.startswith(
        "Nothing is to be applied now.\n"
        "9001_after_orders_priority waits until no process of the previous release can be alive. "
        "The next `oms migrate` 10 minutes or more after this release has started applies it"
    )
    assert "The next `oms migrate` at or after 20" in started
    assert "`oms migrate --after`" in first
    assert second == "applied 9001_after_orders_priority\n"


def test_generations_are_said_to_live_side_by_side_for_as_long_everywhere() -> None:
    assert migrations.SIDE_BY_SIDE == REPLACED_AFTER


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
