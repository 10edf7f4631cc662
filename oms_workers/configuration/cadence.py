"""When a task is due: a crontab or an interval, as a pure function of time.

A cadence is a list of instants, its *slots*, all in UTC:

    Cadence
     ├── Crontab   five fields in a time zone, by the rules of Debian's cron
     └── Interval  every so many seconds, counted from the Unix epoch

Both answer the same three questions and never ask the clock:

    >>> Interval(300).next(datetime(2026, 11, 23, 12, 1, tzinfo=UTC))
    datetime.datetime(2026, 11, 23, 12, 5, tzinfo=datetime.timezone.utc)
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from oms_workers.configuration.crontab import comes, count_slots, latest_slot, next_slot
from oms_workers.configuration.crontab_fields import FIELD_NAMES, CadenceError, check_fields
from oms_workers.configuration.products import read_product

#: An interval longer than a week is a date, and dates are what crontabs are for.
MAX_INTERVAL_SECONDS = 7 * 24 * 60 * 60

CRONTAB_EXAMPLE = "0,3,*,*,*"
INTERVAL_EXAMPLE = "60*5"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cadence(Protocol):
    """What the clock, the tick and the ledger ask of a schedule."""

    def latest(self, now: datetime) -> datetime:
        """The newest slot that is not after `now`."""

    def next(self, after: datetime) -> datetime:
        """The first slot that is after `after`."""

    def count(self, first: datetime, last: datetime) -> int:
        """How many slots there are from `first` to `last`, both included."""

    def crontab(self) -> str | None:
        """The five fields that say the same, separated by blanks, or None where no crontab does."""


@dataclass(frozen=True)
class Interval:
    """Slots at the multiples of `seconds` since the Unix epoch, moved by `offset` seconds.

    Counting from the epoch, not from the start of a process, is what lets a restart shift nothing.
    """

    seconds: int
    offset: int = 0

    def latest(self, now: datetime) -> datetime:
        since_epoch = (now - _EPOCH) // timedelta(seconds=1)
        return self._slot((since_epoch - self.offset) // self.seconds)

    def next(self, after: datetime) -> datetime:
        return self.latest(after) + timedelta(seconds=self.seconds)

    def count(self, first: datetime, last: datetime) -> int:
        return max(
            0,
            (self.latest(last) - self.next(first - timedelta(microseconds=1)))
            // timedelta(seconds=self.seconds)
            + 1,
        )

    def crontab(self) -> str | None:
        """The crontab that this interval equals in UTC, or None where a day is no multiple of it."""
        minutes, odd_seconds = divmod(self.seconds, 60)
        if odd_seconds or self.offset:
            return None
        if minutes < 60 and 60 % minutes == 0:
            return "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
        hours, odd_minutes = divmod(minutes, 60)
        if odd_minutes or 24 % hours:
            return None
        return {1: "0 * * * *", 24: "0 0 * * *"}.get(hours, f"0 */{hours} * * *")

    def _slot(self, number: int) -> datetime:
        return _EPOCH + timedelta(seconds=number * self.seconds + self.offset)

    def __str__(self) -> str:
        return f"every {self.seconds} s" + (f" at +{self.offset} s" if self.offset else "")


@dataclass(frozen=True)
class Crontab:
    """Slots where the five fields of `expression` match the wall clock of `zone`.

    Rules are those of Debian's cron, see `oms_workers.configuration.crontab`. A day of the month and a day of
    the week that are both given mean either.
    """

    expression: str
    zone: ZoneInfo

    def latest(self, now: datetime) -> datetime:
        return latest_slot(self.expression, self.zone, now)

    def next(self, after: datetime) -> datetime:
        return next_slot(self.expression, self.zone, after)

    def count(self, first: datetime, last: datetime) -> int:
        return count_slots(self.expression, self.zone, first, last)

    def crontab(self) -> str:
        return self.expression

    def __str__(self) -> str:
        return f"{self.expression} {self.zone.key}"


def parse_interval(text: str) -> int:
    """Read whole seconds, or a product of them such as `60*5`, without evaluating code.

    Returns the seconds, from 1 to `MAX_INTERVAL_SECONDS`.
    Raises `CadenceError` for anything else.
    """
    seconds = read_product(text)
    if seconds is None:
        raise CadenceError("is not whole seconds, nor a product of them")
    if seconds > MAX_INTERVAL_SECONDS:
        raise CadenceError("is more than 7 days (604800 s); use a crontab for longer")
    if seconds == 0:
        raise CadenceError("is 0 seconds; the shortest interval is 1 s")
    return seconds


def parse_crontab(text: str) -> str:
    """Read `minute,hour,day,month,weekday`, or cron's own five fields separated by blanks.

    Only the second form can hold lists (`0,30 3 * * 1-5`). Returns the five fields separated by blanks.
    Raises `CadenceError`, naming the field, for anything that Debian's cron would not run.
    """
    joined = re.sub(r"\s*,\s*", ",", text.strip())
    if joined.startswith("@"):
        raise CadenceError("is a shorthand; write its five fields instead")
    fields = joined.split() if re.search(r"\s", joined) else joined.split(",")
    if len(fields) != len(FIELD_NAMES):
        raise CadenceError(
            f"has {len(fields)} fields instead of five (minute, hour, day, month, weekday);"
            " a list within a field needs blanks between the fields, as in 0,30 3 * * 1-5"
        )
    check_fields(fields)
    return _runnable(" ".join(fields))


def _runnable(expression: str) -> str:
    """The expression, if cron would ever run it."""
    try:
        CronSim(expression, _EPOCH)
    except CronSimError as error:
        name = _field_of(error)
        value = expression.split()[FIELD_NAMES.index(name)]
        raise CadenceError(f"has {value!r} as its {name}, which no clock or calendar shows") from error
    if not comes(expression):
        raise CadenceError("names a day that never comes")
    return expression


def _field_of(error: CronSimError) -> str:
    name = str(error).removeprefix("Bad ")
    return {"day-of-month": "day of the month", "day-of-week": "day of the week"}.get(name, name)


def has_two_day_fields(expression: str) -> bool:
    """Whether day of the month and day of the week are both given: cron runs on either, Celery on both."""
    _, _, day, _, weekday = expression.split()
    return not day.startswith("*") and not weekday.startswith("*")
