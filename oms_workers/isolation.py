"""Work on many things: one that fails stops no other."""

import logging
from collections.abc import Callable

from oms_workers.database import UNREACHABLE, is_unreachable, retry_transient

logger = logging.getLogger(__name__)


def guarded(work: Callable[..., bool], *arguments: object, problem: str) -> bool:
    """Call `work`, a whole transaction, with these arguments; returns whether it did what it was for.

    What it raises is logged with `problem`, which names the thing. Only the database's absence ends the run;
    a lock that another session holds for long is no absence.
    """
    try:
        return retry_transient(lambda: work(*arguments), attempts=2)
    except UNREACHABLE as error:
        if is_unreachable(error):
            raise
        logger.warning("%s: %s", problem, error)
        return False
    except Exception:
        logger.exception("%s.", problem)
        return False
