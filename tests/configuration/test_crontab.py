"""Crontabs around every clock change of every time zone, against the oracle that walks minutes."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from oms_workers.configuration.cadence import Crontab, parse_crontab
from tests.configuration import oracle
from tests.configuration.test_cadence import MOMENT, random_crontab, walk_backward, walk_forward

#: The zones are shared out to so many tests, and these to the workers of the suite.
SHARES = 24

FIRST_YEAR, LAST_YEAR = 2021, 2031
AROUND = timedelta(hours=9)

#: Of machines, and no zones of the IANA database.
NOT_ZONES = {"localtime", "posixrules"}

#: What once was wrong somewhere: a slot invented, a slot lost, a question that took hours.
TROUBLED = (
    "0 */6 * * 5",
    "*/5 2 * * *",
    "* 3 * * *",
    "30-30/4 * * * *",
    "20-50/7 0-3 * * *",
    "30 23 * * *",
    "15 0 * * *",
    "0 0 * * *",
)

Changes = tuple[tuple[datetime, timedelta | None, timedelta | None], ...]


def changes_of(name: str) -> Changes:
    """Each clock change of a zone, with the offsets before and after it."""
    zone = ZoneInfo(name)
    return tuple(
        (change, (change - MOMENT).astimezone(zone).utcoffset(), change.astimezone(zone).utcoffset())
        for change in oracle.clock_changes(zone, FIRST_YEAR, LAST_YEAR)
    )


@cache
def zones() -> tuple[tuple[str, Changes], ...]:
    """One zone for all that move their clocks alike, with its changes."""
    alike: dict[Changes, str] = {}
    for name in sorted(available_timezones() - NOT_ZONES):
        alike.setdefault(changes_of(name), name)
    return tuple((name, changes) for changes, name in alike.items() if changes)


def share(number: int) -> Iterator[tuple[str, datetime]]:
    places = [(name, change) for name, changes in zones() for change, _, _ in changes]
    yield from places[number::SHARES]


@pytest.mark.parametrize("number", range(SHARES))
def test_every_slot_around_every_clock_change_is_right(number: int) -> None:
    chance = random.Random(number)

    for name, change in share(number):
        expression = chance.choice((*TROUBLED, *(random_crontab(chance) for _ in TROUBLED)))
        crontab = Crontab(parse_crontab(expression), ZoneInfo(name))
        start, end = change - AROUND, change + AROUND
        expected = oracle.slots(expression, ZoneInfo(name), start, end)

        assert walk_forward(crontab, start, end) == expected, (name, change, expression)
        assert walk_backward(crontab, start, end) == expected, (name, change, expression)
        assert crontab.count(start, end - MOMENT) == len(expected), (name, change, expression)


@pytest.mark.parametrize(
    ("zone", "expression", "start", "expected"),
    [
        # A clock change at midnight: 00:00 is skipped and runs at 01:00; 06:00 is not lost.
        ("Africa/Cairo", "0 */6 * * 5", "2026-04-23T20:00:00Z", ["03:00", "09:00", "15:00"]),
        # Half an hour is repeated, and a fixed time of it runs once.
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00:00Z", ["14:45"]),
        # The hour from 02:45 to 03:45 is repeated, and a star follows the clock.
        ("Pacific/Chatham", "*/30 3 * * *", "2026-04-04T12:00:00Z", ["13:15", "13:45", "14:15", "14:45"]),
        # Not from 30 to 59: the range ends where it begins.
        ("UTC", "30-30/4 * * * *", "2026-01-01T00:00:00Z", ["00:30", "01:30", "02:30"]),
    ],
)
def test_what_was_wrong_is_right(zone: str, expression: str, start: str, expected: list[str]) -> None:
    crontab = Crontab(parse_crontab(expression), ZoneInfo(zone))
    begin = datetime.fromisoformat(start)
    end = begin + (timedelta(hours=3) if zone == "UTC" else timedelta(hours=22))

    assert [f"{slot:%H:%M}" for slot in walk_forward(crontab, begin, end)] == expected


@pytest.mark.parametrize(
    "expression", ["0 0 29 2 *", "0 0 29 2 */7", "59 23 31 12 *", "* * * * *", "0 0 1 1 *"]
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Chatham", "Africa/Casablanca", "America/Scoresbysund"])
def test_rare_days_are_found_in_both_directions(zone: str, expression: str) -> None:
    crontab = Crontab(parse_crontab(expression), ZoneInfo(zone))
    asked = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)

    following, before = crontab.next(asked), crontab.latest(asked)

    assert before <= asked < following
    assert crontab.latest(following) == following
    assert crontab.latest(following - MOMENT) == before
    assert crontab.next(before) == following
    assert crontab.count(before, following) == 2


def test_a_year_of_minutes_is_counted() -> None:
    crontab = Crontab("* * * * *", ZoneInfo("Europe/Paris"))
    start = datetime(2026, 1, 1, tzinfo=UTC)

    assert crontab.count(start, start + timedelta(days=365) - MOMENT) == 365 * 24 * 60
