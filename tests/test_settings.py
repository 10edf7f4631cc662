"""The environment, read whole and refused by name."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import settings
from oms_workers.configuration.cadence import Crontab, Interval
from tests.seed import OPERATIONS, Operation

PROJECT = Path(settings.__file__).parent
PROGRAMS = {
    "oms": [sys.executable, "-m", "oms_workers", "check"],
    "dramatiq": [sys.executable, "-m", "dramatiq", "schedules", "-p", "1", "-t", "1"],
    "periodiq": [sys.executable, "-c", "from periodiq import entrypoint; entrypoint()", "schedules"],
}
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


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch):
    """Read the settings from these variables alone, beside the servers'."""
    before = settings.current()

    def read_settings(**variables: str) -> settings.Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return settings.load(need_servers=True)

    yield read_settings
    settings._current = before


def problems(read, **variables: str) -> list[settings.Problem]:
    with pytest.raises(settings.SettingsError) as raised:
        read(**variables)
    return list(raised.value.problems)


@pytest.mark.parametrize("value", BAD_CRONTABS, ids=lambda value: value[:30])
def test_a_bad_crontab_is_refused_by_name(read, value: str) -> None:
    (problem,) = problems(read, OMNITRON_ORDERS_CRONTAB=value)

    assert problem.variable == "OMNITRON_ORDERS_CRONTAB"
    assert value[:50] in problem.value
    assert problem.problem
    assert problem.example == "0,3,*,*,*"
    assert len(str(problem)) < 400


@pytest.mark.parametrize("value", BAD_INTERVALS, ids=lambda value: value[:30])
def test_a_bad_interval_is_refused_by_name(read, value: str) -> None:
    (problem,) = problems(read, DB_MAINTENANCE_SCHEDULE=value)

    assert problem.variable == "DB_MAINTENANCE_SCHEDULE"
    assert value[:50] in problem.value
    assert problem.example == "60*5"


@pytest.mark.parametrize("value", ["maybe", "2", "tru", "null", "0.0"])
def test_a_switch_is_true_or_false(read, value: str) -> None:
    (problem,) = problems(read, OMNITRON_ORDERS=value)

    assert (problem.variable, problem.example) == ("OMNITRON_ORDERS", "false")


@pytest.mark.parametrize(
    ("value", "enabled"), [("false", False), ("False", False), ("0", False), ("no", False), ("true", True)]
)
def test_a_switch_is_read_as_people_write_it(read, value: str, enabled: bool) -> None:
    assert read(OMNITRON_ORDERS=value).switch("OMNITRON_ORDERS").enabled is enabled


def test_both_cadences_of_one_task_are_an_error(read) -> None:
    (problem,) = problems(
        read, OMNITRON_ORDERS_CRONTAB="0,3,*,*,*", OMNITRON_ORDERS_SCHEDULE="60", DB_MAINTENANCE_SCHEDULE="60"
    )

    assert problem.variable == "OMNITRON_ORDERS_CRONTAB"
    assert "OMNITRON_ORDERS_SCHEDULE" in problem.problem


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_means_unset(read, value: str) -> None:
    switch = read(OMNITRON_ORDERS=value, OMNITRON_ORDERS_CRONTAB=value, OMNITRON_ORDERS_SCHEDULE="60").switch(
        "OMNITRON_ORDERS"
    )

    assert (switch.enabled, switch.cadence, switch.source) == (True, Interval(60), "OMNITRON_ORDERS_SCHEDULE")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60", 60), ("60*5", 300), ("60 * 5", 300), ("007", 7), ("1", 1), ("604800", 604800)],
)
def test_an_interval_is_seconds_or_a_product_of_them(read, value: str, seconds: int) -> None:
    assert read(DB_MAINTENANCE_SCHEDULE=value).switch("DB_MAINTENANCE").cadence == Interval(seconds)


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
def test_a_crontab_is_the_documents_or_crons_own(read, value: str, expression: str) -> None:
    loaded = read(DB_MAINTENANCE_CRONTAB=value, TIME_ZONE="Europe/Istanbul")

    assert loaded.switch("DB_MAINTENANCE").cadence == Crontab(expression, loaded.zone)


def test_all_errors_of_all_variables_are_reported_together(read) -> None:
    found = problems(
        read,
        DATABASE_URL="mysql://oms:hunter2@db/oms",
        REDIS_URL="redis://:hunter2@host:port/0",
        TIME_ZONE="Mars/Olympus",
        TICK_SECONDS="0",
        OMNITRON_URL="hub",
        OMNITRON_CONCURRENCY="many",
        OMNITRON_ORDERS="maybe",
        FULFIL_WAITING_ORDERS_SCHEDULE="-60",
        AUTO_RUN_SHIP_THE_PACKAGE_COMMAND_CRONTAB="@daily",
    )

    assert {problem.variable for problem in found} == {
        "DATABASE_URL",
        "REDIS_URL",
        "TIME_ZONE",
        "TICK_SECONDS",
        "OMNITRON_URL",
        "OMNITRON_CONCURRENCY",
        "OMNITRON_ORDERS",
        "FULFIL_WAITING_ORDERS_SCHEDULE",
        "AUTO_RUN_SHIP_THE_PACKAGE_COMMAND_CRONTAB",
    }
    assert all(problem.example for problem in found)
    assert "hunter2" not in str(settings.SettingsError(found))


def test_no_secret_is_shown_by_a_repr(read) -> None:
    shown = repr(
        read(
            DATABASE_URL="postgres://oms:hunter2@db/oms",
            OMNITRON_TOKEN="hunter2",
            OMNITRON_PASSWORD="hunter2",
        )
    )

    assert "hunter2" not in shown


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.env_key)
def test_the_documents_examples_are_valid(
    read, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    key = operation.env_key

    assert read(**{key: "false"}).switch(key).enabled is False
    assert read(**{f"{key}_SCHEDULE": operation.schedule_example}).switch(key).source == f"{key}_SCHEDULE"
    monkeypatch.delenv(f"{key}_SCHEDULE")
    crontab = read(**{f"{key}_CRONTAB": operation.crontab_example}).switch(key).cadence
    assert crontab == Crontab(operation.crontab_example.replace(",", " "), settings.current().zone)


def test_the_keys_are_the_documents() -> None:
    assert tuple(operation.env_key for operation in OPERATIONS) == settings.TASK_KEYS


def test_the_environment_wins_over_the_file(read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TICK_SECONDS=7\nDB_MAINTENANCE=false\nOMNITRON_ORDERS_SCHEDULE=30\n")

    loaded = read(TICK_SECONDS="9", OMNITRON_ORDERS_SCHEDULE="45")

    assert loaded.tick_seconds == 9
    assert loaded.switch("DB_MAINTENANCE").enabled is False
    assert loaded.switch("OMNITRON_ORDERS").cadence == Interval(45)


def test_a_misspelt_key_is_warned_of_and_a_strangers_is_not(read) -> None:
    read(
        OMNITRON_ORDER_SCHEDULE="60",
        FULFILL_WAITING_ORDERS="false",
        DB_MAINTENANCE_CRON="0,3,*,*,*",
        BACKUP_SCHEDULE="daily",
        ORDERS="1",
    )

    warned = settings.warnings()

    assert len(warned) == 3
    assert any("OMNITRON_ORDER_SCHEDULE" in line and "OMNITRON_ORDERS_SCHEDULE" in line for line in warned)
    assert any("DB_MAINTENANCE_CRONTAB" in line for line in warned)
    assert any("FULFIL_WAITING_ORDERS" in line for line in warned)


def test_two_day_fields_are_warned_of(read) -> None:
    read(DB_MAINTENANCE_CRONTAB="0 3 1 * 1", ARCHIVE_OLD_AUDIT_EVENTS_CRONTAB="0 3 1 * *")

    (warning,) = settings.warnings()

    assert warning.startswith("DB_MAINTENANCE_CRONTAB=0 3 1 * 1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OMNITRON_URL", "https://oms:hunter2/cret@hub.example.com"),
        ("OMNITRON_URL", "oms:hunter2@hub.example.com"),
        ("OMNITRON_URL", "https:/oms:hunter2@hub.example.com"),
        ("DATABASE_URL", "hunter2:oms@db/oms"),
        ("REDIS_URL", "hunter2://redis"),
        ("DB_MAINTENANCE", "postgres://oms:hunter2@db/oms"),
        ("DB_MAINTENANCE_CRONTAB", "postgres://oms:hunter2@db/oms"),
        ("DB_MAINTENANCE_CRONTAB", "hunter2@db 0 * * *"),
        ("TICK_SECONDS", "postgres://oms:hunter2@db/oms"),
    ],
)
def test_an_address_that_is_none_shows_no_password(read, variable: str, value: str) -> None:
    with pytest.raises(settings.SettingsError) as raised:
        read(**{variable: value})

    assert variable in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_what_is_missing_is_said_beside_what_is_wrong(read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")

    with pytest.raises(settings.SettingsError) as raised:
        read(TICK_SECONDS="0", OMNITRON_ORDERS_CRONTAB="61 * * * *")

    assert {problem.variable for problem in raised.value.problems} == {
        "DATABASE_URL",
        "REDIS_URL",
        "TICK_SECONDS",
        "OMNITRON_ORDERS_CRONTAB",
    }


def test_a_line_of_the_file_that_cannot_be_read_is_refused_by_its_number(read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('TICK_SECONDS=7\nDATABASE_URL="hunter2\n')

    with pytest.raises(settings.SettingsError) as raised:
        read(DB_MAINTENANCE="maybe")

    assert "line 2 of .env: cannot be read" in str(raised.value)
    assert "DB_MAINTENANCE='maybe'" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_not_text_is_refused(read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TICK_SECONDS=\xff\n")

    with pytest.raises(settings.SettingsError, match=r"\.env: cannot be read: it is not UTF-8"):
        read()


def test_small_letters_mean_the_same(read) -> None:
    loaded = read(db_maintenance="false", tick_seconds="7")

    assert loaded.switch("DB_MAINTENANCE").enabled is False
    assert loaded.tick_seconds == 7


def test_the_machines_own_zone_is_none_of_the_database(read) -> None:
    with pytest.raises(settings.SettingsError, match="TIME_ZONE='localtime'"):
        read(TIME_ZONE="localtime")


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Europe/Paris"])
def test_no_zone_is_warned_of(read, zone: str) -> None:
    read(TIME_ZONE=zone)

    assert settings.warnings() == []


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("TIMEZONE", "TIME_ZONE"),
        ("TIME_ZON", "TIME_ZONE"),
        ("CELERY_TIMEZONE", "TIME_ZONE"),
        ("CELERY_TIME_ZONE", "TIME_ZONE"),
        ("CELERY_ENABLE_UTC", "TIME_ZONE"),
        ("CELERY_BROKER_URL", "REDIS_URL"),
        ("BROKER_URL", "REDIS_URL"),
        ("CELERY_REDIS_MAX_CONNECTIONS", "REDIS_MAX_CONNECTIONS"),
        ("CELERY_BROKER_POOL_LIMIT", "REDIS_MAX_CONNECTIONS"),
        ("CELERYD_CONCURRENCY", "--threads"),
        ("CELERY_BEAT_SCHEDULE", "_SCHEDULE"),
        ("CELERYBEAT_SCHEDULE", "_SCHEDULE"),
        ("CELERY_RESULT_BACKEND", "Celery"),
        ("DATABASE_MAX_CONECTIONS", "DATABASE_MAX_CONNECTIONS"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("REDIS_SSL_VERIFY", "REDIS_TLS_VERIFY"),
        ("TICK_SECOND", "TICK_SECONDS"),
        ("CATCHUP_SECONDS", "CATCH_UP_SECONDS"),
        ("OMNITRON_USER", "OMNITRON_USERNAME"),
        ("OMNITRON_PASS", "OMNITRON_PASSWORD"),
        ("OMNITRON_TIMEOUT", "OMNITRON_TIMEOUT_SECONDS"),
        ("OMNITRON_BASE_URL", "OMNITRON_URL"),
        ("REPLAN_MAX_ATTEMPT", "REPLAN_MAX_ATTEMPTS"),
        ("LOCATION_EXCLUSION", "LOCATION_EXCLUSION_SECONDS"),
        ("INVENTORY_DISCREPANCY_MIN_AGE_SECONDS", "INVENTORY_DISCREPANCY_MIN_AGE"),
    ],
)
def test_a_near_miss_of_any_variable_is_warned_of(read, variable: str, meant: str) -> None:
    read(**{variable: "hunter2"})

    (warning,) = settings.warnings()

    assert warning.startswith(f"{variable} is not known and has no effect; ")
    assert meant in warning
    assert "hunter2" not in warning


@pytest.mark.parametrize("name", settings.Settings.model_fields)
def test_every_variable_has_near_misses(read, name: str) -> None:
    # A letter left out in the middle.
    misspelt = (name[: len(name) // 2] + name[len(name) // 2 + 1 :]).upper()
    read(**{misspelt: "1"})

    (warning,) = settings.warnings()

    assert warning.endswith(f"is {name.upper()} meant?")


def test_what_belongs_to_others_is_not_warned_of(read) -> None:
    read(
        REDIS_TLS_URL="rediss://",
        DATABASE_CONNECTION_POOL_URL="postgres://",
        HEROKU_POSTGRESQL_AMBER_URL="postgres://",
        TEST_DATABASE_URL="postgres://",
        BACKUP_SCHEDULE="daily",
        TZ="Europe/Istanbul",
        PGTZ="Europe/Istanbul",
        WEB_CONCURRENCY="2",
        PORT="80",
        TIMEOUT_SECONDS="5",
    )

    assert settings.warnings() == []


SECONDS = [
    "TICK_SECONDS",
    "CATCH_UP_SECONDS",
    "OMNITRON_TIMEOUT_SECONDS",
    "LOCATION_EXCLUSION_SECONDS",
    "INVENTORY_DISCREPANCY_MIN_AGE",
    "INVENTORY_DISCREPANCY_EXPIRY_SECONDS",
]


@pytest.mark.parametrize("variable", SECONDS)
@pytest.mark.parametrize(("value", "seconds"), [("6*10", 60), ("2 * 3 * 5", 30), ("007", 7), (" 9 ", 9)])
def test_seconds_are_products_in_every_setting(read, variable: str, value: str, seconds: int) -> None:
    assert getattr(read(**{variable: value}), variable.lower()) == seconds


def test_part_of_a_second_is_a_timeout(read) -> None:
    assert read(OMNITRON_TIMEOUT_SECONDS="2.5").omnitron_timeout_seconds == 2.5


NUMBERS = [
    name.upper() for name, info in settings.Settings.model_fields.items() if info.annotation in (int, float)
]


@pytest.mark.parametrize("variable", NUMBERS)
@pytest.mark.parametrize(
    "value", ["99999999999999999999", "9" * 5000, "-1", "1_0", "1e1", "٣", "6**6", "6*", "nan", "inf", "1h"]
)
def test_a_number_that_the_code_cannot_use_is_refused(read, variable: str, value: str) -> None:
    (problem,) = problems(read, **{variable: value})

    assert problem.variable == variable
    assert value[:50] in problem.value
    assert problem.example
    assert len(str(problem)) < 400


@pytest.mark.parametrize("variable", NUMBERS)
def test_the_largest_number_allowed_can_be_used(read, variable: str) -> None:
    info = settings.Settings.model_fields[variable.lower()]
    (most,) = (each.le for each in info.metadata if hasattr(each, "le"))

    loaded = getattr(read(**{variable: str(most)}), variable.lower())

    assert datetime.now(UTC) + timedelta(seconds=loaded) < datetime(2100, 1, 1, tzinfo=UTC)
    assert loaded < 2**31


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TICK_SECONDS", "'60'"),
        ("TIME_ZONE", '"Europe/Paris"'),
        ("REDIS_TLS_VERIFY", '"false"'),
        ("DB_MAINTENANCE", "'false'"),
        ("DB_MAINTENANCE_SCHEDULE", '"60*5"'),
        ("DB_MAINTENANCE_CRONTAB", "'0,3,*,*,*'"),
        ("OMNITRON_URL", '"https://hub.example.com"'),
        ("OMNITRON_TOKEN", '"hunter2"'),
        ("DATABASE_URL", "'postgres://oms:hunter2@db/oms'"),
        ("REDIS_URL", '"redis://:hunter2@redis/0"'),
    ],
)
def test_quotes_that_are_left_in_a_value_are_named(read, variable: str, value: str) -> None:
    (problem,) = problems(read, **{variable: value})

    assert problem.variable == variable
    assert problem.problem == "has quotes around its value; leave them out"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TICK_SECONDS", "60 # a minute"),
        ("TIME_ZONE", "Europe/Paris  # where we are"),
        ("REDIS_TLS_VERIFY", "false # Heroku"),
        ("DB_MAINTENANCE", "false\t# not now"),
        ("DB_MAINTENANCE_SCHEDULE", "60*5 # five minutes"),
        ("DB_MAINTENANCE_CRONTAB", "0 3 * * * # at night"),
        ("OMNITRON_URL", "https://hub.example.com # the hub"),
        ("OMNITRON_TOKEN", "hunter2 # ours"),
        ("DATABASE_URL", "postgres://oms:hunter2@db/oms # ours"),
        ("REDIS_URL", "redis://:hunter2@redis/0 # ours"),
    ],
)
def test_a_comment_that_is_left_in_a_value_is_named(read, variable: str, value: str) -> None:
    (problem,) = problems(read, **{variable: value})

    assert problem.variable == variable
    assert problem.problem == "has a comment after its value; put it on a line of its own"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("variable", ["OMNITRON_USERNAME", "OMNITRON_PASSWORD"])
@pytest.mark.parametrize("value", ["'hunter2'", "hunter2 # ours"])
def test_what_may_be_a_credential_as_it_is_is_only_warned_of(read, variable: str, value: str) -> None:
    read(**{variable: value})

    (warning,) = settings.warnings()

    assert warning.startswith(f"{variable} has ")
    assert "hunter2" not in warning


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
def test_a_crontab_that_means_something_else_says_what(read, crontab: str, said: str) -> None:
    (problem,) = problems(read, DB_MAINTENANCE_CRONTAB=crontab)

    assert said in problem.problem


@pytest.mark.parametrize("crontab", ["*/60,*,*,*,*", "0,*/24,*,*,*", "0 3 * * 5-7", "0 3 */31 * *"])
def test_a_step_as_long_as_its_field_is_meant(read, crontab: str) -> None:
    read(DB_MAINTENANCE_CRONTAB=crontab)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_exits_with_2_and_names_what_is_wrong(program: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "DATABASE_URL": "postgres://oms:hunter2@db:port/oms",
        "OMNITRON_ORDERS_CRONTAB": "61 * * * *",
    }

    ended = subprocess.run(PROGRAMS[program], env=environment, capture_output=True, text=True, timeout=30)

    said = ended.stdout + ended.stderr
    assert ended.returncode == 2, said
    assert "DATABASE_URL" in said
    assert "OMNITRON_ORDERS_CRONTAB='61 * * * *'" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_which_server_is_missing(program: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "DATABASE_URL": ""}

    ended = subprocess.run(PROGRAMS[program], env=environment, capture_output=True, text=True, timeout=30)

    said = ended.stdout + ended.stderr
    assert ended.returncode == 2, said
    assert "DATABASE_URL: is not set" in said


def test_the_example_file_names_every_variable() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    named = {line.lstrip("# ").partition("=")[0] for line in lines if "=" in line}

    keys = {key + suffix for key in settings.TASK_KEYS for suffix in ("", "_CRONTAB", "_SCHEDULE")}
    assert {name.upper() for name in settings.Settings.model_fields} <= named
    assert keys <= named


def manifest() -> dict[str, dict[str, Any]]:
    """The variables of `app.json`; the platform asks for each that is not said to be optional."""
    variables: dict[str, dict[str, Any]] = json.loads((PROJECT / "app.json").read_text())["env"]
    return variables


def test_the_manifest_asks_for_no_token_where_a_user_name_does() -> None:
    asked = {name for name, about in manifest().items() if about.get("required", True)}

    assert {"OMNITRON_TOKEN", "OMNITRON_USERNAME", "OMNITRON_PASSWORD"} <= set(manifest()) - asked
    assert {name for name in asked if "value" not in manifest()[name]} == {"OMNITRON_URL"}


def test_the_manifest_has_no_variable_that_is_not_known() -> None:
    assert {name.lower() for name in manifest()} <= set(settings.Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://oms:s3cr%et@db.example.com/oms"),
        ("DATABASE_URL", "postgresql://oms:s3cret@db.example.com/oms?sslmod=require"),
        ("REDIS_URL", "redis://:s3cret@redis.example.com/0?db=xx"),
        ("OMNITRON_URL", "https://oms:s3cret@hub.example.com"),
        ("OMNITRON_URL", "https://oms:s3cret@hub.example.com:x1/"),
        ("OMNITRON_TOKEN", "s3cret\tand more"),
    ],
)
def test_an_address_that_nobody_can_read_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(settings.SettingsError, match=name) as error:
        settings.load(need_servers=False)

    assert "s3cr" not in str(error.value)
    assert "db=xx" not in str(error.value)
