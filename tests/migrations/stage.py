"""Databases that tests migrate, and a folder of scripts to which they add their own."""

import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

import settings
from oms_workers import migrations
from oms_workers.database import connection, database, execute, rows

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


def scripts() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(migrations.__path__) if module.name[:4].isdigit()]


def until(found: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)
