"""When a crontab is due, exact in every time zone, by the rules of Debian's cron.

A job whose minute or hour begins with a star follows the wall clock. It does not run in an hour that the
clock skips, and it runs twice in an hour that the clock repeats. Any other job has a fixed time. A time that
the clock skips runs as soon as the clock has moved. A time that the clock repeats runs once.

Between two changes of its offset, a zone's wall clock is UTC plus that offset. So time is cut into such
*spells*, and in each of them the slots are plain arithmetic on minutes of the day.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

#: The clock is not moved twice within so short a time; it is looked at so often.
_PROBE = timedelta(hours=3)

#: Debian's cron takes a larger jump for a clock that was set, and runs nothing of what lies in between.
_LARGEST_JUMP = timedelta(hours=3)

#: The rarest day that a crontab can name, a certain weekday that is 29 February, comes within so many years.
_MOST_YEARS = 41

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True)
class Fields:
    """A crontab's fields as sets: what the wall clock and the calendar have to show."""

    minutes_of_day: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both_days: bool
    follows_the_clock: bool

    def match(self, day: date) -> bool:
        """Whether the calendar's day is one of the crontab's."""
        if day.month not in self.months:
            return False
        fits, weekday_fits = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (fits and weekday_fits) if self.both_days else (fits or weekday_fits)


class Spell(NamedTuple):
    """A time of one offset from UTC: from `start` until before `end`, both naive and in UTC."""

    start: datetime
    end: datetime
    offset: timedelta


@lru_cache(maxsize=256)
def read_fields(expression: str) -> Fields:
    """The fields of an expression that `parse_crontab` has let pass."""
    minute, hour, day, month, weekday = expression.lower().split()
    hours, minutes = _values(hour, 0, 23), _values(minute, 0, 59)
    return Fields(
        minutes_of_day=tuple(60 * each + past for each in sorted(hours) for past in sorted(minutes)),
        days=_values(day, 1, 31),
        months=_values(month, 1, 12, _MONTHS),
        weekdays=frozenset(each % 7 for each in _values(weekday, 0, 7, _WEEKDAYS)),
        # With both given, cron means either.
        both_days=day.startswith("*") or weekday.startswith("*"),
        follows_the_clock=minute.startswith("*") or hour.startswith("*"),
    )


def _values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for term in field.split(","):
        bounds, _, step = term.partition("/")
        first, dash, last = bounds.partition("-")
        begin = low if bounds == "*" else _value(first, low, names)
        end = high if bounds == "*" else _value(last, low, names) if dash else begin
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _value(word: str, low: int, names: tuple[str, ...]) -> int:
    # Months are numbered from 1, weekdays from 0.
    return int(word) if word.isdigit() else names.index(word) + low


def next_slot(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first slot that is after an instant, in UTC."""
    fields = read_fields(expression)
    for day in _days(fields, after.astimezone(UTC).date(), 1):
        for slot in _slots_of_day(expression, zone, day):
            if slot > after:
                return slot
    raise AssertionError(f"{expression} names a day that never comes")


def latest_slot(expression: str, zone: ZoneInfo, now: datetime) -> datetime:
    """The newest slot that is not after an instant, in UTC."""
    fields = read_fields(expression)
    for day in _days(fields, now.astimezone(UTC).date(), -1):
        for slot in reversed(_slots_of_day(expression, zone, day)):
            if slot <= now:
                return slot
    raise AssertionError(f"{expression} names a day that never came")


def count_slots(expression: str, zone: ZoneInfo, first: datetime, last: datetime) -> int:
    """How many slots there are from `first` to `last`, both included."""
    start, end = _naive(first), _naive(last) + timedelta(microseconds=1)
    return _count(read_fields(expression), zone, start, end) if start < end else 0


def comes(expression: str) -> bool:
    """Whether the calendar has a day that the expression names."""
    fields = read_fields(expression)
    return next(_days(fields, date(2000, 1, 1), 1), None) is not None


def _days(fields: Fields, start: date, step: int) -> Iterator[date]:
    """The days of UTC, from `start` on or backwards, in which a slot may be.

    The wall clock shows the day itself, the one before, or the one after.
    """
    day = start
    for _ in range(366 * _MOST_YEARS):
        neighbours = (day - DAY, day, day + DAY)
        if any(fields.match(each) for each in neighbours):
            yield day
        elif all(each.month not in fields.months for each in neighbours):
            day = _edge_of_month(day, step)
        if not date(1970, 1, 3) <= day <= date(9990, 1, 1):
            return
        day += timedelta(days=step)


def _edge_of_month(day: date, step: int) -> date:
    """The last day of the month but one, or its second when going backwards: the next to be looked at."""
    if step < 0:
        return min(day, day.replace(day=2))
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return max(day, following - 2 * DAY)


@lru_cache(maxsize=64)
def _slots_of_day(expression: str, zone: ZoneInfo, day: date) -> tuple[datetime, ...]:
    """Every slot within a day of UTC."""
    fields = read_fields(expression)
    start = datetime.combine(day, time())
    end = start + DAY
    found: set[datetime] = set()
    shown_until: datetime | None = None
    for spell in _spells(zone, start - DAY, end):
        first, last = spell.start + spell.offset, spell.end + spell.offset
        if not fields.follows_the_clock and shown_until is not None:
            if _is_skipped(fields, shown_until, first):
                found.add(spell.start)
            # What the clock shows for the second time has run.
            first = max(first, shown_until)
        found.update(wall - spell.offset for wall in _walls(fields, first, last))
        shown_until = last if shown_until is None else max(shown_until, last)
    return tuple(slot.replace(tzinfo=UTC) for slot in sorted(found) if start <= slot < end)


def _count(fields: Fields, zone: ZoneInfo, start: datetime, end: datetime) -> int:
    found = 0
    shown_until: datetime | None = None
    for spell in _spells(zone, start - DAY, end):
        first, last = spell.start + spell.offset, spell.end + spell.offset
        counted_from = max(first, start + spell.offset)
        if not fields.follows_the_clock and shown_until is not None:
            skipped = _is_skipped(fields, shown_until, first) and spell.start >= start
            # A skipped time and one of the moment itself are one slot.
            found += skipped and not any(True for _ in _walls(fields, first, first + MINUTE))
            counted_from = max(counted_from, shown_until)
        found += _count_walls(fields, counted_from, last)
        shown_until = last if shown_until is None else max(shown_until, last)
    return found


def _is_skipped(fields: Fields, shown_until: datetime, first: datetime) -> bool:
    """Whether the clock has jumped over a minute of the crontab."""
    jump = first - shown_until
    return timedelta() < jump < _LARGEST_JUMP and any(True for _ in _walls(fields, shown_until, first))


def _walls(fields: Fields, first: datetime, last: datetime) -> Iterator[datetime]:
    """What the wall clock shows at the crontab's minutes, from `first` until before `last`."""
    day = first.date()
    while day <= last.date():
        if fields.match(day):
            midnight = datetime.combine(day, time())
            for minutes in fields.minutes_of_day:
                wall = midnight + minutes * MINUTE
                if first <= wall < last:
                    yield wall
        day += DAY


def _count_walls(fields: Fields, first: datetime, last: datetime) -> int:
    if first >= last:
        return 0
    day, found = first.date(), 0
    while day <= last.date():
        if fields.match(day):
            midnight = datetime.combine(day, time())
            low = 0 if first <= midnight else _index(fields, first - midnight)
            high = len(fields.minutes_of_day) if last - midnight >= DAY else _index(fields, last - midnight)
            found += high - low
        day += DAY
    return found


def _index(fields: Fields, since_midnight: timedelta) -> int:
    """How many of the crontab's minutes are before so much of the day."""
    return bisect_left(fields.minutes_of_day, since_midnight / MINUTE)


def _spells(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Spell]:
    """The spells from `start` until `end`."""
    begun, offset = start, _offset(zone, start)
    probe = start
    while probe < end:
        following = min(probe + _PROBE, end)
        if _offset(zone, following) != offset:
            change = _change_between(zone, probe, following)
            yield Spell(begun, change, offset)
            begun, offset = change, _offset(zone, change)
        probe = following
    yield Spell(begun, end, offset)


def _change_between(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second of the new offset."""
    before, second = _offset(zone, low), timedelta(seconds=1)
    while high - low > second:
        middle = low + (high - low) // 2 // second * second
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
