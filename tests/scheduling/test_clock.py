"""The adapter through which periodiq sees our cadences."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pendulum
import pytest

from oms_workers.configuration.cadence import Cadence, Crontab, Interval
from oms_workers.scheduling.clock import PeriodicCadence

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def clock_at(moment: datetime, cadence: Cadence | None = None) -> PeriodicCadence:
    return PeriodicCadence(cadence or Interval(3600), now=lambda: moment)


@pytest.mark.parametrize(
    ("seconds", "due"), [(-1, False), (0, True), (1, True), (59, True), (60, False), (61, False)]
)
def test_its_first_answer_covers_the_minute_before_the_start(seconds: int, due: bool) -> None:
    started = NOON + timedelta(seconds=seconds)

    assert clock_at(started).validate(started) is due


def test_each_slot_is_due_once() -> None:
    spec = clock_at(NOON)

    answers = [spec.validate(NOON + timedelta(seconds=second)) for second in (-90, -1, 0, 0, 1, 3599, 3600)]

    assert answers == [False, False, True, False, False, False, True]


def test_a_slot_that_was_slept_over_is_still_due() -> None:
    spec = clock_at(NOON)
    spec.validate(NOON + SECOND)

    assert spec.validate(NOON + timedelta(hours=5, minutes=1))


def test_a_clock_that_steps_back_sends_nothing_twice() -> None:
    spec = clock_at(NOON)
    assert spec.validate(NOON + SECOND)

    assert not spec.validate(NOON - SECOND)
    assert not spec.validate(NOON + 2 * SECOND)


def test_a_clock_that_is_set_back_by_an_hour_goes_on_at_once() -> None:
    spec = clock_at(NOON, Interval(60))
    spec.validate(NOON)

    answers = [spec.validate(NOON - timedelta(hours=1, seconds=-second)) for second in (0, 1, 60, 120)]

    assert answers == [True, False, True, True]


def test_the_next_date_lies_after_the_real_time() -> None:
    spec = clock_at(NOON + timedelta(hours=2, seconds=5))

    following = spec.next_valid_date(pendulum.instance(NOON))

    assert following == NOON + timedelta(hours=3)
    assert isinstance(following, pendulum.DateTime)


def test_it_takes_pendulum_s_own_instants_in_any_zone() -> None:
    paris = ZoneInfo("Europe/Paris")
    spec = clock_at(NOON, Crontab("30 2 * * *", paris))

    assert spec.validate(pendulum.datetime(2026, 3, 29, 3, 0, 1, tz="Europe/Paris"))


@pytest.mark.parametrize(
    ("cadence", "shown"),
    [
        (Interval(60), "* * * * *"),
        (Interval(900), "*/15 * * * *"),
        (Interval(90), "every 90 s"),
        (Crontab("0 3 * * 0", ZoneInfo("Europe/Istanbul")), "0 3 * * 0 Europe/Istanbul"),
    ],
)
def test_it_shows_an_interval_as_the_crontab_that_it_equals(cadence: Cadence, shown: str) -> None:
    assert str(PeriodicCadence(cadence)) == shown
