"""A cadence behind the interface of periodiq's own specs.

periodiq calls three methods only. Its own parser never fires on a Sunday written as 0, and is wrong at clock
changes (measured over a year). So each task's `periodic` option is an adapter around a cadence of ours.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pendulum

from oms_workers.configuration.cadence import Cadence, Interval

#: A clock that starts within a minute after a slot still sends it. If it was sent before, the ledger knows.
FIRST_LOOK_BACK = timedelta(seconds=60)


class PeriodicCadence:
    """`validate` says whether a slot has come due since it was last asked."""

    def __init__(self, cadence: Cadence, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.cadence = cadence
        self._now = now
        self._asked_at: datetime | None = None

    def validate(self, now: datetime) -> bool:
        now = _plain(now)
        if self._asked_at is not None and now < self._asked_at - FIRST_LOOK_BACK:
            # The system's clock was set back. The ledger knows which slots have been run already.
            self._asked_at = None
        asked_at = self._asked_at or now - FIRST_LOOK_BACK
        self._asked_at = max(now, asked_at)
        return self.cadence.latest(now) > asked_at

    def next_valid_date(self, last: datetime) -> pendulum.DateTime:
        """The next slot after the real time. On an earlier one periodiq would call itself without end."""
        return pendulum.instance(self.cadence.next(max(_plain(last), self._now())))

    def __str__(self) -> str:
        crontab = self.cadence.crontab() if isinstance(self.cadence, Interval) else None
        return crontab or str(self.cadence)


def _plain(moment: datetime) -> datetime:
    """periodiq's instants are pendulum's, whose `astimezone` does not take every time zone object."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)
