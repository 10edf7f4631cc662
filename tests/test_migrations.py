"""Migrations: applied once whoever comes, each at its time, and the models say what they made."""

import importlib
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from peewee import Model
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

import oms_workers
import settings
from oms_workers import migrations
from oms_workers.cli.migrate import migrate as oms_migrate
from oms_workers.database import Table, connection, connection_parameters, database, execute, rows
from oms_workers.migrations.scripts import ScriptError
from oms_workers.reservations.proof import unproven
from oms_workers.scheduling import process
from oms_workers.scheduling.succession import REPLACED_AFTER
from tests.conftest import TEMPLATE
from tests.previous.run import run_tests

PROJECT = Path(settings.__file__).parent

MIGRATE_FOLDER = """
import sys
from pathlib import Path
import settings
from oms_workers import migrations
settings.load(need_servers=True)
migrations.DIRECTORY = Path(sys.argv[1])
migrations.migrate()
"""


class Folder:
    """A release's scripts, to which a test adds its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, *statements: str) -> None:
        body = "".join(f"    db.execute_sql({statement!r})\n" for statement in statements) or "    pass\n"
        (self.path / f"{name}.py").write_text(f"def up(migrator, db):\n{body}")

    def add_index(self, name: str, index: str) -> None:
        (self.path / f"{name}.py").write_text(
            "from oms_workers.migrations.indexes import create_index_concurrently\n"
            "atomic = False\n"
            f"def up(migrator, db):\n    create_index_concurrently(db, {index})\n"
        )

    def remove(self, name: str) -> None:
        (self.path / f"{name}.py").unlink()


@contextmanager
def a_database(template: str) -> Iterator[str]:
    """The address of a copy of `template`."""
    assert settings.current().database_url is not None
    url = settings.current().database_url.get_secret_value()  # type: ignore[union-attr]
    current = conninfo_to_dict(url)["dbname"]
    name = sql.Identifier(f"{current}_migrations")
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template))
        )
        try:
            yield url.replace(f"/{current}?", f"/{current}_migrations?")
        finally:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The address of a database without a schema."""
    with a_database("template0") as url:
        yield url


@pytest.fixture
def released_database() -> Iterator[str]:
    """The address of a database that has had this release."""
    with a_database(TEMPLATE) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    path = tmp_path / "scripts"
    path.mkdir()
    for script in scripts():
        shutil.copy(migrations.DIRECTORY / f"{script}.py", path)
    monkeypatch.setattr(migrations, "DIRECTORY", path)
    return Folder(path)


@pytest.fixture
def new(empty_database: str, folder: Folder, configure: Callable[..., object]) -> Iterator[Folder]:
    """The scripts to add to, while this process works on a database without a schema."""
    with working_on(empty_database, configure):
        yield folder


@pytest.fixture
def released(released_database: str, folder: Folder, configure: Callable[..., object]) -> Iterator[Folder]:
    """The scripts of the next release to add to, while this process works on one that has had this."""
    with working_on(released_database, configure):
        yield folder


@contextmanager
def working_on(url: str, configure: Callable[..., object]) -> Iterator[None]:
    forget_connections()
    configure(DATABASE_URL=url)
    try:
        yield
    finally:
        forget_connections()


def forget_connections() -> None:
    """The next connection goes to where the settings then say."""
    if not database.deferred:
        database.close_all()
    database.init(None)


def applied_names() -> list[str]:
    with connection():
        return [row.name for row in rows("SELECT name FROM schema_migration ORDER BY id")]


def waiting_names() -> list[str]:
    with connection():
        return [script.name for script in migrations.waiting()]


def announced_names() -> list[str]:
    with connection():
        return [row.name for row in rows("SELECT name FROM migration_announcements ORDER BY name")]


def announced_ago(name: str, ago: str) -> None:
    """A process of this release has started `ago`."""
    with connection():
        migrations.announce()
        execute(
            """
            UPDATE migration_announcements
            SET announced_at = clock_timestamp() - %s::interval
            WHERE name = %s
            """,
            (ago, name),
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


def scripts() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(migrations.__path__) if module.name[:4].isdigit()]


def test_counters_of_a_database_in_use_get_their_opening_movements_once(db: None) -> None:
    opening = importlib.import_module("oms_workers.migrations.0012_before_opening_movements")
    with connection():
        execute("INSERT INTO locations (code, name, type) VALUES ('A', 'A', 'store'), ('B', 'B', 'store')")
        execute(
            """
            INSERT INTO stock (sku, location_id, on_hand, reserved, snapshot_at)
            SELECT 'S' || number, location, mod(number, 5), mod(number, 3), now() - interval '1 day'
            FROM generate_series(1, 1500) AS number, unnest('{1, 2}'::int[]) AS location
            """
        )
        execute(
            """
            INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
            VALUES ('S1', 1, 4, 'snapshot', 'oms load', now()), ('S1', 1, -3, 'consumed', 'pack', now()),
                   ('S1', 1, 4, 'reserved', 'plan', now())
            """
        )
        assert len(unproven()) > 2_000

        opening.up(None, database)
        opened = rows("SELECT count(*), max(id) FROM stock_movements")
        opening.up(None, database)

        assert unproven() == []
        assert rows("SELECT count(*), max(id) FROM stock_movements") == opened
        # What was there came to the right sums.
        assert rows("SELECT count(*) FROM stock_movements WHERE (sku, location_id) = ('S1', 1)") == [(3,)]
        assert rows("SELECT count(*) FROM stock WHERE counted_at IS DISTINCT FROM snapshot_at") == [(0,)]


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


def test_two_scripts_with_one_number_are_refused_by_name_before_anything_is_applied(
    released: Folder,
) -> None:
    before = applied_names()
    released.add("9001_before_shelf")
    released.add("9002_before_shelf_place")
    released.add("9002_after_shelf_note")

    with pytest.raises(ScriptError) as error:
        migrations.migrate()

    assert "9002: 9002_after_shelf_note, 9002_before_shelf_place" in str(error.value)
    assert "next free number, 9003" in str(error.value)
    assert applied_names() == before


def test_a_number_that_the_database_has_from_another_branch_is_refused(released: Folder) -> None:
    released.add("9001_before_shelf")
    migrations.migrate()
    released.remove("9001_before_shelf")
    assert migrations.migrate() == []
    released.add("9001_before_orders_note")

    with pytest.raises(ScriptError, match="9001_before_orders_note, 9001_before_shelf"):
        migrations.migrate()


@pytest.mark.parametrize(
    "name",
    [
        "9001_shelf",
        "9001_Before_shelf",
        "901_before_shelf",
        "90001_before_shelf",
        "9001_before",
        "9001_before_",
        "9001-before-shelf",
        "before_shelf",
        "after_9001_shelf",
        # The names that older scripts have are theirs alone.
        "0006_replanning",
    ],
)
def test_a_file_that_is_named_neither_before_nor_after_is_refused(released: Folder, name: str) -> None:
    released.add(name)

    with pytest.raises(ScriptError, match=f"{name}.py .*Rename it"):
        migrations.migrate()


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


def test_make_previous_tests_the_old_code_on_the_newer_schema(tmp_path: Path) -> None:
    old, newer = a_tree(tmp_path / "old"), a_tree(tmp_path / "newer")
    Folder(newer / "oms_workers" / "migrations").add("9001_before_shelf", "CREATE TABLE shelf (sku text)")
    (old / "tests" / "test_shelf.py").write_text(
        "from oms_workers import database, migrations\n"
        "def test_shelf(db):\n"
        f"    assert migrations.__file__.startswith({str(old)!r})\n"
        "    assert database.rows('SELECT * FROM shelf') == []\n"
    )

    assert run_tests(old, ["tests/test_shelf.py"], workers="0", newer=newer) == 0


def a_tree(path: Path) -> Path:
    """A copy of what a test of this release needs."""
    (path / "tests").mkdir(parents=True)
    for file in (
        "pyproject.toml",
        "settings.py",
        "schedules.py",
        "tests/__init__.py",
        "tests/conftest.py",
        "tests/proof.py",
    ):
        shutil.copy(PROJECT / file, path / file)
    for folder in ("oms_workers", "tests/previous"):
        shutil.copytree(PROJECT / folder, path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return path


def index(name: str) -> tuple[bool] | None:
    """Whether the index is valid, or None where there is none."""
    with connection():
        found = rows("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,))
    return found[0] if found else None


def being_built() -> bool:
    with connection():
        return bool(rows("SELECT FROM pg_stat_progress_create_index"))


def until(found: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
