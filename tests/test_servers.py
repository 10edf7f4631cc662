"""Servers that answer and with which nothing could work: found by what the processes will do, and named."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from peewee import OperationalError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

import settings
from oms_workers import servers
from oms_workers.broker import current
from oms_workers.cli.app import app
from oms_workers.servers import UnfitServerError, demand_postgres, refuse_unfit
from oms_workers.silence import why
from tests.pooler import pooler

PROJECT = Path(settings.__file__).parent


def address() -> dict[str, Any]:
    assert settings.current().database_url is not None
    return conninfo_to_dict(settings.current().database_url.get_secret_value())  # type: ignore[union-attr]


@contextmanager
def pooled(**options: bool) -> Iterator[str]:
    """The address of a pooler in transaction mode before the tests' PostgreSQL."""
    parts = address()
    with pooler(f"{parts['host']}/.s.PGSQL.5432", **options) as port:
        yield f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}"


@contextmanager
def a_database(encoding: str) -> Iterator[str]:
    """The address of an empty database in this encoding."""
    parts = address()
    name = f"{parts['dbname']}_{encoding.lower()}"
    own = sql.Identifier(name)
    with psycopg.connect(autocommit=True, **parts) as administrator:
        administrator.execute(
            sql.SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'").format(
                own, sql.Literal(encoding)
            )
        )
        try:
            yield f"postgresql://{parts['user']}@/{name}?host={parts['host']}"
        finally:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(own))


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_python("-m", *arguments, **variables)


def run_python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMNITRON_ORDERS": "false", "PYTHONPATH": str(PROJECT), **variables}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_tests_own_servers_can_do_everything() -> None:
    assert servers.find_postgres_unfitness() == []
    assert servers.find_redis_unfitness() == []
    refuse_unfit()


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_a_pooler_in_transaction_mode_is_named_before_anything_is_done(command: str) -> None:
    with pooled() as url:
        ended = run("oms_workers", command, DATABASE_URL=url)

    assert ended.returncode == 1
    assert "A pooler in transaction mode stands before PostgreSQL" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "program",
    [
        ("-c", "from periodiq import entrypoint; entrypoint()", "schedules"),
        ("-m", "dramatiq", "schedules", "-p", "1", "-t", "1"),
    ],
    ids=("clock", "worker"),
)
def test_a_process_that_could_never_work_ends_with_the_same_words(program: tuple[str, ...]) -> None:
    with pooled() as url:
        ended = run_python(*program, DATABASE_URL=url, TICK_SECONDS="2")

    assert ended.returncode != 0
    assert "A pooler in transaction mode stands before PostgreSQL" in ended.stderr


def test_a_pooler_that_refuses_our_options_is_named() -> None:
    with pooled(refuses_options=True) as url:
        ended = run("oms_workers", "check", DATABASE_URL=url)

    assert ended.returncode == 1
    assert "A pooler before PostgreSQL refuses the options with which our sessions start" in ended.stderr


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused_before_it_is_migrated(encoding: str) -> None:
    with a_database(encoding) as url:
        ended = run("oms_workers", "migrate", DATABASE_URL=url)
        with psycopg.connect(url) as session:
            tables = session.execute("SELECT FROM pg_tables WHERE schemaname = 'public'").fetchall()

    assert ended.returncode == 1
    assert f"The database has the encoding {encoding}" in ended.stderr
    assert "CREATE DATABASE" in ended.stderr
    assert tables == []


def test_a_session_that_speaks_another_encoding_is_named(
    configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")

    with pytest.raises(UnfitServerError, match="PostgreSQL is asked to speak LATIN1"):
        demand_postgres()


def test_a_server_that_is_away_or_recovers_by_itself_ends_no_process(
    configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(DATABASE_URL="postgresql://oms@127.0.0.1:1/oms")
    refuse_unfit()

    def refuse(*_: object) -> None:
        raise redis.ReadOnlyError("You can't write against a read only replica.")

    monkeypatch.setattr(current().client, "eval", refuse)
    refuse_unfit()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (redis.ReadOnlyError("You can't write against a read only replica."), "it is a replica"),
        (redis.OutOfMemoryError("command not allowed"), "its memory or its disk is full"),
        (redis.ResponseError("MISCONF Redis is configured to save"), "its memory or its disk is full"),
        (redis.ResponseError("MOVED 3999 10.1.2.3:6381"), "Redis is a cluster"),
        (redis.ResponseError("DB index is out of range"), "no database of the number"),
        (redis.exceptions.NoPermissionError("this user has no permissions"), "does not let the user"),
        (redis.ResponseError("unknown command 'EVAL' at 10.1.2.3"), "refuses what enqueueing"),
    ],
)
def test_what_redis_refuses_is_named_without_its_address(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(current().client, "eval", refuse)

    (found,) = servers.find_redis_unfitness()

    assert said in found
    assert "10.1.2.3" not in found


def test_the_check_writes_to_redis_and_leaves_nothing_there() -> None:
    before = set(current().client.keys())  # type: ignore[arg-type]

    assert servers.find_redis_unfitness() == []

    assert set(current().client.keys()) == before  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("REDIS_URL", "redis://:s3cret@r.example/0?ssl_cert_reqs=none", "an option that cannot be used"),
        ("REDIS_URL", "redis://:s3cret@r.example/0?foo=bar", "an option that cannot be used"),
        ("REDIS_URL", "redis://:s3cret@r.example/0?decode_responses=true", "an option that cannot be used"),
        ("REDIS_URL", "redis://:s3cret@r.example/0?max_connections=1", "an option that cannot be used"),
        ("REDIS_URL", "rediss://:s3cret@r.example/0?ssl_cert_reqs=maybe", "cannot be read by redis"),
        ("REDIS_URL", "unix:///run/s3cret.sock", "does not begin with redis: or rediss:"),
        ("REDIS_URL", "redis://:12#s3cret@r.example", "has a #"),
        ("REDIS_URL", "redis://:12?s3cret@r.example", "names no host"),
        ("REDIS_URL", "redis://:s3cret@r.example/queues", "other than the number of a database"),
        ("DATABASE_URL", "postgresql://oms:pass@s3cret@db.example/oms", "more than one @"),
    ],
)
def test_an_address_that_only_looks_right_is_refused_at_the_start(
    variable: str, value: str, said: str
) -> None:
    ended = run("oms_workers", "check", **{variable: value})

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "s3cret" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "value", ["redis://r.example", "rediss://u:p%40ss@r.example:6380/3?ssl_cert_reqs=none&socket_timeout=3"]
)
def test_an_address_of_redis_that_can_be_used_is_taken(configure: Callable[..., Any], value: str) -> None:
    assert configure(REDIS_URL=value).redis_url.get_secret_value() == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('connection to server at "h.example" (10.1.2.3), port 5432 failed: Connection refused', "listens"),
        ('could not translate host name "ss@h.example" to address: unknown', "host name is not known"),
        ("[Errno -2] Name or service not known", "host name is not known"),
        ('FATAL:  password authentication failed for user "oms"', "the user name or the password"),
        ('FATAL:  database "oms" does not exist', "no database of that name"),
        ('FATAL:  role "oms" does not exist', "the user name or the password"),
        ('FATAL: no pg_hba.conf entry for host "10.1.2.3"', "admits no such user"),
        ("connection timeout expired", "did not answer in time"),
        ("FATAL:  sorry, too many clients already", "no connection is left"),
        ("FATAL:  the database system is starting up", "starting or stopping"),
        ("server closed the connection unexpectedly", "was cut off"),
        ("Error while reading from auth.example.com:6379 : (104, 'Connection reset by peer')", "was cut off"),
        ("Error 111 connecting to password.example:6379. Connection refused.", "nothing listens there"),
        ('connection to server at "time.example" failed: FATAL:  role "oms" does not exist', "the user name"),
        ("No connection available.", "no connection is left"),
        ("something about h.example", "left out, since it may show the address"),
    ],
)
def test_why_a_server_is_silent_is_said_without_its_address(text: str, said: str) -> None:
    words = why(OperationalError(text))

    assert said in words
    assert not any(part in words for part in ("example", "oms", "10.1.2.3", "ss@"))
    assert why(OperationalError(words)) == words


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "postgresql://s3cret:s3cret@s3cret.invalid/s3cret"),
        ("REDIS_URL", "redis://s3cret:s3cret@s3cret.invalid"),
    ],
)
@pytest.mark.parametrize("command", ["check", "status"])
def test_a_silent_server_is_named_by_its_variable_alone(command: str, variable: str, value: str) -> None:
    ended = run("oms_workers", command, **{variable: value})

    assert ended.returncode == 1
    assert f"does not answer at {variable}: its host name is not known." in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr


def test_check_says_so_in_the_release_phase(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITRON_ORDERS", "false")
    monkeypatch.setattr(servers, "_PUBLISH", "return redis.call('no-such-command')")

    ended = CliRunner().invoke(app, ["check"])

    assert ended.exit_code == 1
    assert "Redis refuses what enqueueing a message does" in ended.stderr


def test_each_kind_of_advisory_lock_has_a_class_of_its_own() -> None:
    sources = [path.read_text() for path in (PROJECT / "oms_workers").rglob("*.py")]
    classes = [found for source in sources for found in re.findall(r"= \(?(0x6F6D[0-9A-F]{4})", source)]

    assert len(classes) >= 6
    assert len(classes) == len(set(classes))
