"""Work on many things: one that fails stops no other, and none is held for longer than it should be."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from oms_workers.database import UNREACHABLE, is_unreachable, retry_transient

T = TypeVar("T")

logger = logging.getLogger(__name__)


def one_by_one(work: Callable[[], bool], problem: str) -> bool:
    """Do `work`, a whole transaction, and say whether it did what it was for.

    What it raises is logged with `problem`, which names the thing; only the database's absence ends the run.
    A lock that somebody else holds for long is no such absence.
    """
    try:
        return retry_transient(work, attempts=2)
    except UNREACHABLE as error:
        if is_unreachable(error):
            raise
        logger.warning("%s: %s", problem, error)
        return False
    except Exception:
        logger.exception("%s.", problem)
        return False


def in_time(items: Iterable[T], seconds: float) -> Iterator[T]:
    """The first item, and the others for as long as so many seconds have not passed."""
    deadline = time.monotonic() + seconds
    for item in items:
        yield item
        if time.monotonic() > deadline:
            return
