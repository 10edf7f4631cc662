"""The three keys of a task: its switch, its crontab and its interval."""

import pytest

import settings
from oms_workers.configuration.cadence import Crontab, Interval
from tests.configuration.refusals import problems

BAD_CRONTABS = [
    "61 * * * *",
    "0,3,*,*",
    "0,3,*,*,*,*",
    "0,25,*,*,*",
    "0,3,0,*,*",
    "0,3,*,13,*",
    "0,3,*,*,8",
    "*/0,*,*,*,*",
    "-1 * * * *",
    "30-10 * * * *",
    "0 0 30 2 *",
    "0 0 * * 5#2",
    "0 0 L * *",
    "5/10 * * * *",
    "@daily",
    "daily",
    ",,,,",
    "٣ * * * *",
    "* * * * * *",
    "9" * 5000 + " * * * *",
]


BAD_INTERVALS = [
    "60*",
    "*60",
    "60**5",
    "-60",
    "+60",
    "0",
    "60*0",
    "1e3",
    "1.5",
    "0x10",
    "6_0",
    "٦٠",
    "60 5",
    "__import__('os')",
    "9*9*9*9*9*9*9*9*9*9*9*9",
    "604801",
    "9" * 5000,
    "1*" * 5000 + "0",
    "hourly",
]


@pytest.mark.parametrize("value", BAD_CRONTABS, ids=lambda value: value[:30])
def test_a_bad_crontab_is_refused_by_name(configure, value: str) -> None:
    (problem,) = problems(configure, OMNITRON_ORDERS_CRONTAB=value)

    assert problem.variable == "OMNITRON_ORDERS_CRONTAB"
    assert value[:50] in problem.value
    assert problem.problem
    assert problem.example == "0,3,*,*,*"
    assert len(str(problem)) < 400


@pytest.mark.parametrize("value", BAD_INTERVALS, ids=lambda value: value[:30])
def test_a_bad_interval_is_refused_by_name(configure, value: str) -> None:
    (problem,) = problems(configure, DB_MAINTENANCE_SCHEDULE=value)

    assert problem.variable == "DB_MAINTENANCE_SCHEDULE"
    assert value[:50] in problem.value
    assert problem.example == "60*5"


@pytest.mark.parametrize("value", ["maybe", "2", "tru", "null", "0.0"])
def test_a_switch_is_true_or_false(configure, value: str) -> None:
    (problem,) = problems(configure, OMNITRON_ORDERS=value)

    assert (problem.variable, problem.example) == ("OMNITRON_ORDERS", "false")


@pytest.mark.parametrize(
    ("value", "enabled"), [("false", False), ("False", False), ("0", False), ("no", False), ("true", True)]
)
def test_a_switch_is_read_as_people_write_it(configure, value: str, enabled: bool) -> None:
    assert configure(OMNITRON_ORDERS=value).switch("OMNITRON_ORDERS").enabled is enabled


def test_both_cadences_of_one_task_are_an_error(configure) -> None:
    (problem,) = problems(
        configure,
        OMNITRON_ORDERS_CRONTAB="0,3,*,*,*",
        OMNITRON_ORDERS_SCHEDULE="60",
        DB_MAINTENANCE_SCHEDULE="60",
    )

    assert problem.variable == "OMNITRON_ORDERS_CRONTAB"
    assert "OMNITRON_ORDERS_SCHEDULE" in problem.problem


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_means_unset(configure, value: str) -> None:
    switch = configure(
        OMNITRON_ORDERS=value, OMNITRON_ORDERS_CRONTAB=value, OMNITRON_ORDERS_SCHEDULE="60"
    ).switch("OMNITRON_ORDERS")

    assert (switch.enabled, switch.cadence, switch.source) == (True, Interval(60), "OMNITRON_ORDERS_SCHEDULE")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60", 60), ("60*5", 300), ("60 * 5", 300), ("007", 7), ("1", 1), ("604800", 604800)],
)
def test_an_interval_is_seconds_or_a_product_of_them(configure, value: str, seconds: int) -> None:
    assert configure(DB_MAINTENANCE_SCHEDULE=value).switch("DB_MAINTENANCE").cadence == Interval(seconds)


@pytest.mark.parametrize(
    ("value", "expression"),
    [
        ("0,3,*,*,*", "0 3 * * *"),
        ("0 , 3, * ,*,*", "0 3 * * *"),
        ("0,30 3 * * 1-5", "0,30 3 * * 1-5"),
        ("0, 30 3 * * 1-5", "0,30 3 * * 1-5"),
        ("*/60,*,*,*,*", "*/60 * * * *"),
        ("0 0 * jan sun", "0 0 * jan sun"),
    ],
)
def test_a_crontab_is_the_documents_or_crons_own(configure, value: str, expression: str) -> None:
    loaded = configure(DB_MAINTENANCE_CRONTAB=value, TIME_ZONE="Europe/Istanbul")

    assert loaded.switch("DB_MAINTENANCE").cadence == Crontab(expression, loaded.zone)


def test_two_day_fields_are_warned_of(configure) -> None:
    configure(DB_MAINTENANCE_CRONTAB="0 3 1 * 1", ARCHIVE_OLD_AUDIT_EVENTS_CRONTAB="0 3 1 * *")

    (warning,) = settings.warnings()

    assert warning.startswith("DB_MAINTENANCE_CRONTAB=0 3 1 * 1")


@pytest.mark.parametrize(
    ("crontab", "said"),
    [
        (
            "0 3 * * FRI-MON",
            "'FRI-MON' as its day of the week, which ends before it begins; write FRI-SAT,SUN-MON",
        ),
        ("0 3 * * sat-sun", "write SAT,SUN"),
        ("0 3 * * 6-1", "write 6,0-1"),
        ("0 3 * nov-feb *", "write NOV-DEC,JAN-FEB"),
        ("0 3 25-5 * *", "write 25-31,1-5"),
        ("50-10 * * * *", "write 50-59,0-10"),
        ("0 22-6 * * *", "write 22-23,0-6"),
        ("0,22-6/2,*,*,*", "write 22-23,0-6"),
        ("*/100,*,*,*,*", "'*/100' as its minute, and an hour has only 60; for every 100 minutes set 60*100"),
        ("*/90,*,*,*,*", "for every 90 minutes set 60*90 as the interval"),
        ("0,*/36,*,*,*", "'*/36' as its hour, and a day has only 24; for every 36 hours set 60*60*36"),
        ("0 3 */40 * *", "'*/40' as its day of the month"),
        ("0 3 * */13 *", "'*/13' as its month"),
        ("0 3 * * */14", "'*/14' as its day of the week"),
        ("0 3 * * 1-5/9", "'1-5/9' as its day of the week"),
    ],
)
def test_a_crontab_that_means_something_else_says_what(configure, crontab: str, said: str) -> None:
    (problem,) = problems(configure, DB_MAINTENANCE_CRONTAB=crontab)

    assert said in problem.problem


@pytest.mark.parametrize("crontab", ["*/60,*,*,*,*", "0,*/24,*,*,*", "0 3 * * 5-7", "0 3 */31 * *"])
def test_a_step_as_long_as_its_field_is_meant(configure, crontab: str) -> None:
    configure(DB_MAINTENANCE_CRONTAB=crontab)
