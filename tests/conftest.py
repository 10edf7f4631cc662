"""One PostgreSQL and one Valkey for the whole test run; a database of its own for each xdist worker."""

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import settings
from oms_workers import migrations
from oms_workers.database import connection, database, execute, rows
from oms_workers.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from tests import proof

TEMPLATE = "oms_template"

hypothesis.settings.register_profile("suite", database=None, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("suite")

_servers: list[EmbeddedPostgres | EmbeddedValkey] = []
_directory: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    for name in [*os.environ]:
        if name.upper() in _known_variables():
            del os.environ[name]
    if not hasattr(config, "workerinput"):
        _start_servers()
    number = getattr(config, "workerinput", {}).get("workerid", "gw0").removeprefix("gw")
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        _use_database(number)


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in _servers:
        server.stop()
    if _directory is not None:
        shutil.rmtree(_directory, ignore_errors=True)


def _known_variables() -> set[str]:
    keys = {key + suffix for key in settings.TASK_KEYS for suffix in ("", "_CRONTAB", "_SCHEDULE")}
    return keys | {name.upper() for name in settings.Settings.model_fields}


def _start_servers() -> None:
    global _directory
    _directory = Path(tempfile.mkdtemp(prefix="oms-"))
    postgres = EmbeddedPostgres(_directory / "pg").start()
    valkey = EmbeddedValkey(_directory / "valkey").start()
    _servers.extend([postgres, valkey])
    os.environ["OMS_TEST_DATABASE_URL"] = postgres.url
    os.environ["OMS_TEST_REDIS_URL"] = valkey.url
    with psycopg.connect(postgres.url, autocommit=True) as session:
        # The suite's data may go with a power cut; its minutes may not.
        session.execute("ALTER SYSTEM SET fsync = off")
        session.execute("ALTER SYSTEM SET full_page_writes = off")
        session.execute("SELECT pg_reload_conf()")
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    _migrate(make_conninfo(postgres.url, dbname=TEMPLATE))


def _migrate(conninfo: str) -> None:
    _configure(conninfo, os.environ["OMS_TEST_REDIS_URL"])
    migrations.migrate()
    with connection():
        proof.install()
    database.close_all()
    database.init(None)


def _use_database(number: str) -> None:
    name = f"oms_{number}"
    with psycopg.connect(os.environ["OMS_TEST_DATABASE_URL"], autocommit=True) as session:
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        )
    _configure(
        make_conninfo(os.environ["OMS_TEST_DATABASE_URL"], dbname=name),
        f"{os.environ['OMS_TEST_REDIS_URL']}/{number}",
    )
    # The program that the tests are: the task table and its broker.
    importlib.import_module("schedules")


def _configure(conninfo: str, redis_url: str) -> None:
    os.environ["DATABASE_URL"] = _as_url(conninfo)
    os.environ["REDIS_URL"] = redis_url
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        settings.load(need_servers=True)


def _as_url(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the checkout's `.env`, the servers of an `oms up` beside it, or a terminal's width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Set variables for one test: `configure(TIME_ZONE="Europe/Paris")`."""
    before = settings.current()

    def set_variables(**variables: object) -> settings.Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return settings.load(need_servers=True)

    yield set_variables
    settings._current = before


@pytest.fixture
def db() -> Iterator[None]:
    """A connection to an empty database."""
    with connection():
        yield
        unsaid = proof.states_without_event()
        execute(_truncate_all())
        proof.forget()
        assert unsaid == [], "states were written without an event"


def _truncate_all() -> str:
    tables = rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'"
    )
    return f"TRUNCATE {', '.join(table.tablename for table in tables)} RESTART IDENTITY CASCADE"
