"""Cadences against an oracle that walks Debian's rules minute by minute, and against plain arithmetic."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms_workers.configuration.cadence import Crontab, Interval, parse_crontab
from tests.configuration import oracle

ZONES = ("UTC", "Europe/Istanbul", "Europe/Paris", "America/New_York")
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
SUNDAYS = ("0", "7", "sun", "SUN", "0,7", "7-7", "sun,7")


def windows(zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Three days around each clock change of ten years, month ends, 29 February, a random week a year."""
    chance = random.Random(7)
    centres = oracle.clock_changes(zone, 2012, 2021) or [datetime(2016, 3, 27, 1, tzinfo=UTC)]
    found = [(change - 1.5 * DAY, change + 1.5 * DAY) for change in centres]
    for year in range(2012, 2022):
        month = chance.randint(1, 12)
        found.append((datetime(year, month, 1, tzinfo=UTC) - DAY, datetime(year, month, 1, tzinfo=UTC) + DAY))
        week = datetime(year, 1, 1, tzinfo=UTC) + chance.randint(0, 350) * DAY
        found.append((week, week + 7 * DAY))
    found.append((datetime(2016, 2, 28, tzinfo=UTC), datetime(2016, 3, 2, tzinfo=UTC)))
    found.append((datetime(2015, 2, 27, tzinfo=UTC), datetime(2015, 3, 2, tzinfo=UTC)))
    return found


def random_crontab(chance: random.Random) -> str:
    """Crontabs that run now and then within a few days, with every way to write a field."""
    minute = chance.choice(
        ["0", "30", "59", "*", "*/7", "*/15", "5,35", "10-20/5", "0-59/20", "17", "0,30,59"]
    )
    hour = chance.choice(
        ["*", "*/2", "*/5", "0", "1", "2", "3", "1,2,3", "0-4", "2-3", "23", "1-23/2", "0,12"]
    )
    day = chance.choice(["*", "*", "*", "*/2", "1", "28-31", "29", "1,15,31", "*/10"])
    month = chance.choice(["*", "*", "*", "*/2", "mar,oct,nov", "2", "1-3", "10-12"])
    weekday = chance.choice(["*", "*", *SUNDAYS, "1-5", "0-6", "1-7", "*/7", "5-7", "sat", "mon-fri", "*/2"])
    return f"{minute} {hour} {day} {month} {weekday}"


@pytest.mark.parametrize("crontabs", [1, pytest.param(3, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", ZONES)
def test_no_slot_is_missing_and_none_is_extra(name: str, crontabs: int) -> None:
    zone = ZoneInfo(name)
    chance = random.Random(name)

    for start, end in windows(zone):
        for expression in {random_crontab(chance) for _ in range(crontabs)}:
            crontab = Crontab(parse_crontab(expression), zone)
            expected = oracle.slots(expression, zone, start, end)
            assert walk_forward(crontab, start, end) == expected, (expression, start)
            recent = expected[-200:]
            assert walk_backward(crontab, recent[0] if recent else start, end) == recent, (expression, start)
            if expected:
                assert crontab.count(expected[0], expected[-1]) == len(expected), (expression, start)


@pytest.mark.parametrize("name", [zone for zone in ZONES if zone != "UTC"])
def test_asked_from_inside_a_clock_change_it_answers_as_from_outside(name: str) -> None:
    zone = ZoneInfo(name)
    chance = random.Random(name)

    for change in oracle.clock_changes(zone, 2012, 2021):
        start, end = change - DAY, change + DAY
        for expression in ("30 2 * * *", "*/10 * * * *", "0 1 * * *", "30 1 * * *", random_crontab(chance)):
            crontab = Crontab(parse_crontab(expression), zone)
            expected = oracle.slots(expression, zone, start, end)
            for minutes in range(-125, 126, 7):
                asked = change + timedelta(minutes=minutes, seconds=chance.randint(0, 59))
                check(crontab, asked, expected)


def check(crontab: Crontab, asked: datetime, expected: list[datetime]) -> None:
    later = [slot for slot in expected if slot > asked]
    earlier = [slot for slot in expected if slot <= asked]
    if later:
        assert crontab.next(asked) == later[0], (crontab, asked)
    if earlier:
        assert crontab.latest(asked) == earlier[-1], (crontab, asked)


@pytest.mark.parametrize("name", ZONES)
def test_latest_and_next_agree(name: str) -> None:
    chance = random.Random(name)

    for _ in range(300):
        crontab = Crontab(parse_crontab(random_crontab(chance)), ZoneInfo(name))
        asked = datetime(2012, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randint(0, 10 * 365 * 86400))
        following = crontab.next(asked)
        assert following > asked
        assert crontab.latest(following) == following
        assert crontab.latest(following - MOMENT) <= asked
        assert crontab.next(crontab.latest(asked)) == following


def test_sundays_may_be_written_any_way() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    expected = [start + timedelta(days=3, weeks=week) for week in range(52)]

    for sunday in SUNDAYS:
        crontab = Crontab(parse_crontab(f"0 0 * * {sunday}"), ZoneInfo("UTC"))
        assert walk_forward(crontab, start, datetime(2026, 12, 31, tzinfo=UTC)) == expected, sunday


def test_29_february_comes_every_four_years() -> None:
    crontab = Crontab("0 0 29 2 *", ZoneInfo("Europe/Paris"))

    first = crontab.next(datetime(2025, 1, 1, tzinfo=UTC))

    assert first == datetime(2028, 2, 28, 23, tzinfo=UTC)
    assert crontab.latest(first - MOMENT) == datetime(2024, 2, 28, 23, tzinfo=UTC)


@given(
    st.one_of(st.sampled_from([1, 2, 7, 90, 420, 18000, 604800]), st.integers(1, 604800)),
    st.integers(0, 4_000_000_000),
    st.integers(0, 999_999),
)
def test_an_interval_is_the_multiples_of_its_seconds(seconds: int, epoch: int, micro: int) -> None:
    asked = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch, microseconds=micro)
    interval = Interval(seconds)

    latest, following = interval.latest(asked), interval.next(asked)

    assert int(latest.timestamp()) == epoch // seconds * seconds
    assert following - latest == timedelta(seconds=seconds)
    assert interval.count(latest, following) == 2
    assert interval.count(latest + MOMENT, following - MOMENT) == 0
    assert interval.count(latest - timedelta(seconds=10 * seconds), following + MOMENT) == 12


def test_an_offset_moves_every_slot() -> None:
    tick = Interval(60, offset=30)

    assert tick.latest(datetime(2026, 1, 1, 12, 0, 29, tzinfo=UTC)) == datetime(
        2026, 1, 1, 11, 59, 30, tzinfo=UTC
    )
    assert tick.next(datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)) == datetime(
        2026, 1, 1, 12, 1, 30, tzinfo=UTC
    )


@pytest.mark.parametrize("minutes", [1, 2, 5, 15, 30, 60, 120, 240, 1440])
def test_an_interval_that_tiles_the_day_is_the_crontab_that_it_says(minutes: int) -> None:
    interval = Interval(minutes * 60)
    start = datetime(2026, 3, 28, tzinfo=UTC)
    expression = interval.crontab()

    assert expression is not None
    expected = oracle.slots(expression, ZoneInfo("UTC"), start, start + 3 * DAY)
    assert walk_forward(interval, start, start + 3 * DAY) == expected


@pytest.mark.parametrize("seconds", [1, 59, 90, 7 * 60, 45 * 60, 90 * 60, 5 * 3600, 48 * 3600, 604800])
def test_an_interval_that_does_not_tile_the_day_is_no_crontab(seconds: int) -> None:
    assert Interval(seconds).crontab() is None


def walk_forward(cadence: Crontab | Interval, start: datetime, end: datetime) -> list[datetime]:
    found, slot = [], cadence.next(start - MOMENT)
    while slot < end:
        found.append(slot)
        slot = cadence.next(slot)
    return found


def walk_backward(cadence: Crontab, start: datetime, end: datetime) -> list[datetime]:
    found, slot = [], cadence.latest(end - MOMENT)
    while slot >= start:
        found.append(slot)
        slot = cadence.latest(slot - MOMENT)
    return found[::-1]
