"""Whether PostgreSQL's clock and this process's own agree. While they do not, nothing is claimed.

Slots are PostgreSQL's time. A clock of it that jumps ahead would account for slots that have not come yet.
Nobody can tell from here which of two clocks is wrong, so the process waits until they agree.
"""

import logging
import threading
from datetime import UTC, datetime, timedelta

from oms_workers.errors import OmsError

logger = logging.getLogger(__name__)

#: Clocks that are kept by NTP differ by milliseconds.
MOST_DIFFERENCE = timedelta(minutes=1)

_saying = threading.Lock()
_differed = False


class ClocksDifferError(OmsError):
    """PostgreSQL's clock and this process's differ by more than a minute."""


def own() -> datetime:
    """This process's clock."""
    return datetime.now(UTC)


def differ(theirs: datetime, ours: datetime) -> bool:
    """Whether two readings of the clocks, taken together, differ by more than `MOST_DIFFERENCE`."""
    return abs(theirs - ours) > MOST_DIFFERENCE


def agree(theirs: datetime) -> bool:
    """Whether PostgreSQL's time, read just now, is this process's too. A change is logged once."""
    global _differed
    ours = own()
    differs = differ(theirs, ours)
    with _saying:
        changed, _differed = differs != _differed, differs
    if changed and differs:
        logger.error("%s Nothing is claimed or recorded until they agree.", sentence(theirs, ours))
    elif changed:
        logger.warning("PostgreSQL's clock and this process's agree again. Runs are claimed again.")
    return not differs


def require_agreement(theirs: datetime) -> None:
    """Raises `ClocksDifferError` where PostgreSQL's time, read just now, is not this process's."""
    if not agree(theirs):
        raise ClocksDifferError(
            f"{sentence(theirs, own())} Set the one that is wrong, and the run can be claimed."
        )


def sentence(theirs: datetime, ours: datetime) -> str:
    """By how much the clocks differ, for a log or a person."""
    seconds = round((theirs - ours).total_seconds())
    direction = "ahead of" if seconds >= 0 else "behind"
    return f"PostgreSQL's clock is {abs(seconds)} s {direction} this machine's."
