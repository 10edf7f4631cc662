"""Whether the servers answer, said in a sentence with the variable to look at."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import redis
from peewee import OperationalError, ProgrammingError
from playhouse.pool import MaxConnectionsExceeded

from oms_workers.database import UNREACHABLE, is_unreachable, sqlstate
from oms_workers.errors import OmsError
from oms_workers.silence import why

#: What a service's clients raise when it is away, or refuses for the moment.
_AWAY: dict[str, tuple[type[Exception], ...]] = {
    "PostgreSQL": (*UNREACHABLE, psycopg.OperationalError),
    "Redis": (redis.RedisError,),
}

#: Undefined table, undefined column.
MISSING_SCHEMA = frozenset({"42P01", "42703"})


class ServiceError(OmsError):
    """A server does not answer."""


@contextmanager
def answering(service: str) -> Iterator[None]:
    """Turn a server's silence within the block into a `ServiceError` that names its variable."""
    variable = {"PostgreSQL": "DATABASE_URL", "Redis": "REDIS_URL"}[service]
    try:
        yield
    except ProgrammingError as error:
        if sqlstate(error) not in MISSING_SCHEMA:
            raise
        raise ServiceError(
            f"The schema is not up to date, run `oms migrate`: {_first_line(error)}"
        ) from error
    except _AWAY[service] as error:
        if isinstance(error, psycopg.Error | OperationalError) and not is_unreachable(error):
            raise ServiceError(f"{service} has refused: {_first_line(error)}") from error
        raise ServiceError(f"{service} does not answer at {variable}: {_why(error)}.") from None


def _why(error: Exception) -> str:
    if "certificate verify failed" in str(error):
        return "its certificate cannot be verified; REDIS_TLS_VERIFY=false accepts one that nobody has signed"
    if isinstance(error, MaxConnectionsExceeded):
        return "every connection of the pool is in use"
    return why(error)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
