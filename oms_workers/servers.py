"""Whether PostgreSQL and Redis can do what the processes will ask of them, and what stands between if not.

A pooler in transaction mode, another encoding, a replica: each answers `SELECT 1` and PING, and then nothing
works. So `oms check`, `oms migrate` and the start of clock and worker try what the work needs.
"""

import random
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
import redis

import settings
from oms_workers.broker import current
from oms_workers.database import connection_parameters
from oms_workers.errors import OmsError

#: The class of the advisory locks that are tried here ("omsc").
LOCK_CLASS = 0x6F6D7363

#: Half of the keys of a class: the catalogue shows the others as negative.
_MOST_KEY = 2**31 - 1

#: How long a pooler with a single connection may keep the second session waiting for the first.
_HOLD_SECONDS = 3

_OLDEST_POSTGRES = 140_000

# What enqueueing a message does: a script that writes. The key expires, should the script be cut off.
_PUBLISH = """
    redis.call('rpush', KEYS[1], 'check')
    redis.call('expire', KEYS[1], 10)
    return redis.call('del', KEYS[1])
"""

_DIRECTLY = "connect directly, or through a pooler in session mode"


class UnfitServerError(OmsError):
    """A server answers, and yet the processes cannot work with it."""


class Unfitness(NamedTuple):
    """What a server cannot do. What is `lasting` does not pass by itself: a failover and a full memory do."""

    problem: str
    lasting: bool = True


def demand_postgres() -> None:
    """Raise `UnfitServerError` where PostgreSQL cannot hold what the schema and the processes need."""
    _demand(_of_postgres())


def find_postgres_unfitness() -> list[str]:
    """What stands between the processes and PostgreSQL."""
    return [found.problem for found in _of_postgres()]


def find_redis_unfitness() -> list[str]:
    """What stands between the processes and Redis."""
    return [found.problem for found in _of_redis()]


def refuse_unfit() -> None:
    """End this process, with status 2 and the reasons, where it could never work.

    A server that is away is no reason, nor is what passes by itself: both are waited for.
    """
    lasting = [found for found in (*_if_there(_of_postgres), *_if_there(_of_redis)) if found.lasting]
    try:
        _demand(lasting)
    except UnfitServerError as error:
        settings.exit_misconfigured(error)


def _if_there(ask: Callable[[], list[Unfitness]]) -> list[Unfitness]:
    try:
        return ask()
    except (psycopg.OperationalError, redis.RedisError):
        return []


def _demand(found: list[Unfitness]) -> None:
    if found:
        raise UnfitServerError("\n".join(each.problem for each in found))


def _of_postgres() -> list[Unfitness]:
    parameters = connection_parameters(settings.current())
    try:
        with (
            psycopg.connect(autocommit=True, **parameters) as session,
            psycopg.connect(autocommit=True, **parameters) as other,
        ):
            return [*_of_database(session), *_of_pooler(session, other)]
    except psycopg.OperationalError as error:
        found = _refused_start(str(error))
        if found is None:
            raise
        return [found]


def _refused_start(text: str) -> Unfitness | None:
    """What is meant by a refusal of our sessions' options."""
    if re.search(r"unsupported startup parameter", text):
        return Unfitness(
            "A pooler before PostgreSQL refuses the options with which our sessions start, their time limits;"
            f" {_DIRECTLY} that takes `options`. See DATABASE_URL."
        )
    if re.search(r"unrecognized configuration parameter", text):
        return Unfitness(
            "PostgreSQL does not know an option with which our sessions start; take PostgreSQL 14 or later."
        )
    return None


def _of_database(session: psycopg.Connection[Any]) -> Iterator[Unfitness]:
    told = session.info.parameter_status
    for name in ("server_encoding", "client_encoding"):
        encoding = told(name)
        if encoding not in ("UTF8", None):
            yield _wrong_encoding(name, encoding)
    if session.info.server_version < _OLDEST_POSTGRES:
        yield Unfitness(f"PostgreSQL is of version {session.info.server_version}; take 14 or later.")
    if "on" in (told("default_transaction_read_only"), told("in_hot_standby")):
        yield Unfitness(
            "PostgreSQL takes no writes, since it is a replica or read-only; see DATABASE_URL.", lasting=False
        )
    # SQL: a setting of the session, whose connection is outside the pool.
    limited = session.execute("SELECT current_setting('statement_timeout') <> '0'").fetchone()
    if limited is None or not limited[0]:
        yield Unfitness(
            "Something before PostgreSQL drops the options with which our sessions start, their time limits;"
            f" {_DIRECTLY} that hands them on. See DATABASE_URL."
        )


def _wrong_encoding(name: str, encoding: str | None) -> Unfitness:
    if name == "client_encoding":
        return Unfitness(
            f"PostgreSQL is asked to speak {encoding}, and orders hold any text; take client_encoding out of"
            " DATABASE_URL, PGCLIENTENCODING or the role's settings."
        )
    return Unfitness(
        f"The database has the encoding {encoding}, and orders hold any text; make another one with"
        " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in DATABASE_URL."
    )


def _of_pooler(session: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> Iterator[Unfitness]:
    """Whether a session keeps its lock and its prepared statement while another one is at work."""
    key = random.randint(1, _MOST_KEY)
    # SQL: an advisory lock of the session, as a worker holds one.
    session.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, key))
    kept = prepared = False
    with suppress(psycopg.OperationalError), other.transaction():
        # SQL: a pooler with a single connection would wait for this transaction, and it for the pooler.
        other.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{_HOLD_SECONDS}s'")
        kept, prepared = _keeps_lock(session, key), _keeps_statement(session)
    if not kept:
        yield Unfitness(
            "A pooler in transaction mode stands before PostgreSQL: the lock of one statement is gone at the"
            " next, and a worker holds a lock of its session for as long as it lives;"
            f" {_DIRECTLY}. See DATABASE_URL."
        )
    elif not prepared:
        yield Unfitness(
            "A pooler before PostgreSQL loses prepared statements from one statement to the next;"
            f" {_DIRECTLY}. See DATABASE_URL."
        )


def _keeps_lock(session: psycopg.Connection[Any], key: int) -> bool:
    # SQL: PostgreSQL shows advisory locks in its catalogue only.
    found = session.execute(
        """
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()
          AND classid::bigint = %s AND objid::bigint = %s AND granted
        """,
        (LOCK_CLASS, key),
    ).fetchone()
    return found is not None


def _keeps_statement(session: psycopg.Connection[Any]) -> bool:
    try:
        for number in range(2):
            # SQL: no table is asked, only whether a statement that was prepared is still known.
            session.execute("SELECT %s::integer", (number,), prepare=True)
    except psycopg.ProgrammingError:
        return False
    return True


def _of_redis() -> list[Unfitness]:
    try:
        current().client.eval(_PUBLISH, 1, f"{current().namespace}:check:{uuid.uuid4().hex}")
    except redis.ResponseError as error:
        return [_refused_write(error)]
    return []


def _refused_write(error: redis.ResponseError) -> Unfitness:
    """What is meant by a refusal. The words of Redis may show an address, and its first word says enough."""
    text = str(error)
    if isinstance(error, redis.ReadOnlyError) or "READONLY" in text:
        return Unfitness("Redis takes no writes, since it is a replica; see REDIS_URL.", lasting=False)
    if isinstance(error, redis.OutOfMemoryError) or text.startswith(("OOM", "MISCONF")):
        return Unfitness("Redis takes no writes, since its memory or its disk is full.", lasting=False)
    if text.startswith(("MOVED", "CROSSSLOT", "CLUSTER")):
        return Unfitness("Redis is a cluster, and the queues need a single one; see REDIS_URL.")
    if "DB index" in text:
        return Unfitness("Redis has no database of the number that stands in REDIS_URL.")
    if isinstance(error, redis.exceptions.NoPermissionError) or "permission" in text:
        return Unfitness("Redis does not let the user of REDIS_URL run the scripts that enqueue messages.")
    return Unfitness("Redis refuses what enqueueing a message does; see its log, and REDIS_URL.")
