"""Work that is done one by one, so that one that fails stops no other."""

import logging
from collections.abc import Callable

from oms_workers.database import UNREACHABLE, retry_transient

logger = logging.getLogger(__name__)


def one_by_one(work: Callable[[], bool], problem: str) -> bool:
    """Do `work`, a whole transaction, and say whether it did what it was for.

    What it raises is logged with `problem`, which names the thing; only the database's absence ends the run.
    """
    try:
        return retry_transient(work)
    except UNREACHABLE:
        raise
    except Exception:
        logger.exception("%s.", problem)
        return False
