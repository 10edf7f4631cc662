"""Debian's cron, walked minute by minute over wall clocks: an oracle that shares no code with ours.

The rules, from cron's manual and its `cron.c`: a job whose minute or hour starts with a star follows the wall
clock, so that it does not run in a skipped hour and runs twice in a repeated one. Any other job is a fixed
time: one that the clock skips runs as soon as the clock has moved, and one that it repeats runs once.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
NAMES = {
    3: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def matches(expression: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = (
        expand(n, field) for n, field in enumerate(expression.lower().split())
    )
    if wall.minute not in minute or wall.hour not in hour or wall.month not in month:
        return False
    _, _, day_field, _, weekday_field = expression.split()
    day_fits = wall.day in day
    weekday_fits = wall.isoweekday() in weekday or wall.isoweekday() % 7 in weekday
    if day_field.startswith("*") or weekday_field.startswith("*"):
        return day_fits and weekday_fits
    return day_fits or weekday_fits


_expanded: dict[tuple[int, str], set[int]] = {}


def expand(number: int, field: str) -> set[int]:
    """The values of a field, by its position."""
    if (number, field) not in _expanded:
        _expanded[number, field] = set().union(*(_term(number, term) for term in field.split(",")))
    return _expanded[number, field]


def _term(number: int, term: str) -> set[int]:
    bounds, _, step = term.partition("/")
    if bounds == "*":
        low, high = BOUNDS[number]
    else:
        first, dash, last = bounds.partition("-")
        low = _value(number, first)
        high = _value(number, last) if dash else low
    return set(range(low, high + 1, int(step or 1)))


def _value(number: int, word: str) -> int:
    if word.isdigit():
        return int(word)
    return NAMES[number].index(word) + (1 if number == 3 else 0)


def slots(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Every slot in [start, end), in UTC."""
    minute, hour = expression.split()[:2]
    follows_the_clock = minute.startswith("*") or hour.startswith("*")
    found: set[datetime] = set()
    wall_before = None
    now = start - timedelta(hours=4)
    ran: set[datetime] = set()
    while now < end:
        wall = now.astimezone(zone).replace(tzinfo=None)
        if follows_the_clock:
            if matches(expression, wall):
                found.add(now)
        else:
            # The minutes that the clock has jumped over come due now; the ones it repeats have run.
            # A jump of three hours is a clock that was set, as Casey's: cron runs nothing of it.
            jumped = wall - wall_before if wall_before is not None else timedelta()
            skipped = wall_before + MINUTE if timedelta() < jumped <= timedelta(hours=3) else wall
            while skipped <= wall:
                if skipped not in ran and matches(expression, skipped):
                    found.add(now)
                ran.add(skipped)
                skipped += MINUTE
        wall_before = wall
        now += MINUTE
    return sorted(slot for slot in found if start <= slot)


def clock_changes(zone: ZoneInfo, first_year: int, last_year: int) -> list[datetime]:
    """The instants, to the minute, at which the zone's offset from UTC changes."""
    found = []
    day = datetime(first_year, 1, 1, tzinfo=UTC)
    while day.year <= last_year:
        following = day + timedelta(days=1)
        if day.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
            found.append(_change_between(zone, day, following))
        day = following
    return found


def _change_between(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    before = low.astimezone(zone).utcoffset()
    while high - low > MINUTE:
        middle = low + (high - low) // 2 // MINUTE * MINUTE
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high
