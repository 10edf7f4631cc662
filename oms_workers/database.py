"""PostgreSQL: one pool for the process, explicit connections, short transactions.

A thread opens its connection with `connection()` and gives it back at the end of the block, before it
waits on anything else. Inside, `rows()` and `execute()` run plain SQL, and `transaction()` brackets it.
"""

import logging
import random
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar, overload

import psycopg
from peewee import SQL, DataError, IntegrityError, InterfaceError, Model, OperationalError, Select, Value, fn
from playhouse.pool import MaxConnectionsExceeded, PooledDatabase
from playhouse.postgres_ext import PooledPsycopg3Database
from psycopg.conninfo import conninfo_to_dict

import settings
from oms_workers import forks
from oms_workers.sets import Arrays, column, constant
from oms_workers.silence import why

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]

logger = logging.getLogger(__name__)

#: No statement of ours comes near a minute; one that does is stuck, and holds what others wait for.
STATEMENT_TIMEOUT_SECONDS = 60

#: Longer than any commit of ours takes, shorter than an operator's patience.
LOCK_TIMEOUT_SECONDS = 10

#: A connection that its thread has forgotten must not hold locks for ever.
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 60

#: Platforms rotate databases and their firewalls forget idle connections.
MAX_CONNECTION_AGE_SECONDS = 600

#: How long a thread waits for a connection of the pool before it says that the pool is too small.
POOL_WAIT_SECONDS = 10

#: Deadlock, serialization failure, lock timeout: the transaction is worth another try.
TRANSIENT_SQLSTATES = frozenset({"40P01", "40001", "55P03"})
TRANSIENT_ATTEMPTS = 5

#: A server that is not the primary, or is kept from writing for the moment.
READ_ONLY_SQLSTATE = "25006"

#: Raised for as long as PostgreSQL does not answer, or no connection of the pool is free.
UNREACHABLE = (OperationalError, InterfaceError, MaxConnectionsExceeded)

_SESSION = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s",
    # A backend that is busy in a statement would notice a dead client only at the statement's end.
    "client_connection_check_interval": "2s",
    "timezone": "UTC",
}


class _Beside(threading.local):
    """Whether this thread's connection is one beside the pool."""

    active = False


_beside = _Beside()


class _Database(PooledPsycopg3Database):
    """The pool, which learns its address from the settings when the first connection is opened."""

    def _connect(self) -> Any:
        """Open a connection; what libpq says of one that does not come about would quote the address."""
        try:
            made = super(PooledDatabase, self)._connect() if _beside.active else super()._connect()
        except psycopg.OperationalError as error:
            raise psycopg.OperationalError(why(error)) from None
        forks.keep_from_children(made)
        forks.in_child(self.forget)
        return made

    def forget(self) -> None:
        """In a forked child: the parent's connections are not ours, and other threads' locks never end."""
        self._lock = threading.RLock()
        self._pool_lock = threading.RLock()
        self._pool_available = threading.Condition(self._pool_lock)
        self.dispose()

    def _close(self, conn: Any, close_conn: bool = False) -> None:  # noqa: FBT001, FBT002 - peewee's signature
        super()._close(conn, close_conn or _beside.active)

    def connect(self, reuse_if_open: bool = False) -> bool:  # noqa: FBT001, FBT002 - peewee's signature
        if self.deferred:
            configure(settings.current())
        return super().connect(reuse_if_open)


database = _Database(
    None, autoconnect=False, stale_timeout=MAX_CONNECTION_AGE_SECONDS, timeout=POOL_WAIT_SECONDS
)


class Table(Model):
    """What every table's model derives from: a Peewee model that also writes sets of rows in one statement.

    Rows are named tuples whose fields are columns of the model.
    """

    class Meta:
        database = database
        legacy_table_names = False

    @classmethod
    def next_ids(cls, count: int) -> list[int]:
        """So many new ids, taken before the rows are written, so that rows may refer to one another."""
        series = fn.generate_series(SQL("1"), Value(count).cast("integer"))
        sequence = f"{cls._meta.table_name}_id_seq"
        return column(Select([series], [fn.nextval(sequence)]).bind(database)) if count else []

    @classmethod
    def insert_set(cls, rows: Sequence[Any], **constants: Any) -> int:
        """Insert these rows; constants have the same value in every row. Returns how many there were."""
        return int(cls.insertion(rows, **constants).as_rowcount().execute()) if rows else 0

    @classmethod
    def insertion(cls, rows: Sequence[Any], **constants: Any) -> Any:
        """The INSERT of one row or more, to which the caller adds what is done on a conflict."""
        new = Arrays.of(cls, rows)
        fields = {**new.fields, **{name: cls._meta.columns[name] for name in constants}}
        values = [
            *(getattr(new.c, name) for name in new.fields),
            *(constant(fields[name], value) for name, value in constants.items()),
        ]
        # Without the empty `returning()` the key of every row would come back.
        return cls.insert_from(Select([new], values), [*fields.values()]).returning()

    @classmethod
    def update_set(cls, rows: Sequence[Any], *, key: Sequence[str] = ("id",), **constants: Any) -> int:
        """Change rows, which have their key and what is changed; returns how many there were."""
        if not rows:
            return 0
        new = Arrays.of(cls, rows)
        known = cls._meta.columns
        changed = {known[name]: getattr(new.c, name) for name in new.fields if name not in key}
        same = {known[name]: value for name, value in constants.items()}
        return int(cls.update({**changed, **same}).from_(new).where(new.matches(cls, *key)).execute())


def configure(configuration: settings.Settings) -> None:
    """Point the pool at `DATABASE_URL`; connections are opened when they are asked for."""
    parameters = connection_parameters(configuration)
    name = parameters.pop("dbname", "")
    database.init(name, max_connections=configuration.database_max_connections, **parameters)


def connection_parameters(configuration: settings.Settings) -> dict[str, Any]:
    """What libpq needs for a connection of ours, timeouts and keepalives included."""
    if configuration.database_url is None:
        settings.exit_misconfigured(settings.SettingsError(settings.missing_servers()))
    parameters: dict[str, Any] = conninfo_to_dict(configuration.database_url.get_secret_value())
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    return {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "oms-workers",
        **parameters,
        "options": f"{parameters.get('options', '')} {session}".strip(),
    }


@contextmanager
def connection() -> Iterator[None]:
    """Hold a connection for the block, unless this thread holds one already, and give it back after it."""
    if not database.is_closed():
        yield
        return
    _open()
    try:
        yield
    finally:
        database.close()


@contextmanager
def connection_beside_pool() -> Iterator[None]:
    """Like `connection()`, for a thread that must not wait until others give theirs back.

    It opens a connection of its own, and closes it at the end of the block.
    """
    _beside.active = True
    try:
        with connection():
            yield
    finally:
        _beside.active = False


def abandon_connection() -> None:
    """Close the connection that this thread has left open, if any. What is not committed is rolled back."""
    if database.is_closed():
        return
    logger.warning("A connection was left open. It is closed, and what was not committed is rolled back.")
    _discard()


def replace_connection() -> None:
    """Give this thread another connection for the one that was lost. Raises `OperationalError`."""
    _discard()
    _open()


def _discard() -> None:
    while database.in_transaction():
        database.pop_transaction()
    database.manual_close()


def _open() -> None:
    """A pooled connection may have died since it was last used: one that does not answer is replaced."""
    database.connect()
    try:
        # SQL: it only asks whether the connection still answers.
        database.execute_sql("SELECT 1")
    except UNREACHABLE:
        database.manual_close()
        database.close_idle()
        database.connect()


@contextmanager
def transaction() -> Iterator[None]:
    """Commit the block as one, or nothing of it; needs a `connection()` around it. No network inside."""
    if database.in_transaction():
        with database.atomic():
            yield
        return
    _following.works = {}
    try:
        with database.atomic():
            yield
        works = _following.works
    finally:
        _following.works = {}
    for work, items in works.items():
        _do_after_commit(work, items)


class _Following(threading.local):
    """What this thread does when its transaction is committed, and with which items."""

    def __init__(self) -> None:
        self.works: dict[Callable[[frozenset[str]], None], set[str]] = {}


_following = _Following()


def after_commit(work: Callable[[frozenset[str]], None], items: Iterable[str]) -> None:
    """Do `work` once after the commit of this thread's transaction, with all items that were given for it.

    Without any item nothing is done, and nothing after a rollback. Where no transaction is open it is done at
    once. An error is logged: what is committed stays, and `work` can only be a hint.
    """
    given = {*items}
    if not given:
        return
    if database.in_transaction():
        _following.works.setdefault(work, set()).update(given)
    else:
        _do_after_commit(work, given)


def _do_after_commit(work: Callable[[frozenset[str]], None], items: set[str]) -> None:
    try:
        work(frozenset(items))
    except Exception:
        logger.exception("What follows a commit could not be done; what was committed stays.")


def execute(sql: str, parameters: Parameters = ()) -> int:
    """Run one statement and return how many rows it changed."""
    return database.execute_sql(sql, parameters or None).rowcount


@overload
def rows(sql: str, parameters: Parameters = ()) -> list[Any]: ...
@overload
def rows(sql: str, parameters: Parameters = (), *, into: type[T]) -> list[T]: ...
def rows(sql: str, parameters: Parameters = (), *, into: type[Any] | None = None) -> list[Any]:
    """Run one statement and return its rows: as `into`, whose fields are its columns in their order, or as
    named tuples."""
    cursor = database.execute_sql(sql, parameters or None)
    if into is not None:
        return [into(*found) for found in cursor.fetchall()]
    names = tuple(column.name for column in cursor.description)
    return [*map(_row_type(names)._make, cursor.fetchall())]


@lru_cache(maxsize=256)
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


def database_now() -> datetime:
    """PostgreSQL's clock, the one that every process here shares."""
    now: datetime = column(Select([], [fn.clock_timestamp()]).bind(database))[0]
    return now


def sqlstate(error: BaseException) -> str | None:
    """The five characters in which PostgreSQL says what is wrong, or None where it said nothing."""
    return getattr(getattr(error, "orig", error), "sqlstate", None)


def is_unreachable(error: BaseException) -> bool:
    """Whether PostgreSQL itself is away, or no connection to it is free, rather than one statement refused.

    Classes 08 (connection exception) and 57P (operator intervention), or no answer at all.
    """
    state = sqlstate(error)
    away = (*UNREACHABLE, psycopg.OperationalError)
    return isinstance(error, away) and (state is None or state.startswith(("08", "57P")))


def concerns_what_is_written(error: BaseException) -> bool:
    """Whether it is the statement's own content that PostgreSQL refuses, so that less of it may pass.

    That is what breaks a constraint or a type, exceeds a limit (class 54), or takes longer than a statement
    may (57014).
    """
    state = sqlstate(error) or ""
    return isinstance(error, DataError | IntegrityError) or state.startswith("54") or state == "57014"


def passes(error: BaseException) -> bool:
    """Whether a refusal ends by itself, so that the same statement is worth another try a little later.

    PostgreSQL is away or short of something, or it is read-only during a failover.
    """
    return isinstance(error, UNREACHABLE) or sqlstate(error) == READ_ONLY_SQLSTATE


def retry_transient(work: Callable[[], T], *, attempts: int = TRANSIENT_ATTEMPTS) -> T:
    """Do `work`, a whole transaction, again after a deadlock, a serialization failure or a lock timeout."""
    for attempt in range(1, attempts):
        try:
            return work()
        except OperationalError as error:
            if sqlstate(error) not in TRANSIENT_SQLSTATES:
                raise
            logger.info(
                "A transaction met %s and is tried again (%s of %s).", sqlstate(error), attempt, attempts
            )
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)
    return work()
