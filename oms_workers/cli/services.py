"""Whether the servers answer, said in a sentence with the variable to look at."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from oms_workers.database import UNREACHABLE
from oms_workers.errors import OmsError


class ServiceError(OmsError):
    """A server does not answer."""


@contextmanager
def answering(service: str) -> Iterator[None]:
    """Turn a server's silence within the block into a `ServiceError` that names its variable."""
    variable = {"PostgreSQL": "DATABASE_URL", "Redis": "REDIS_URL"}[service]
    try:
        yield
    except (*UNREACHABLE, redis.RedisError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ServiceError(f"{service} does not answer at {variable}: {reason}") from error
