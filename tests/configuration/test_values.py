"""Numbers, seconds and addresses; quotes and comments that were left in a value."""

from datetime import UTC, datetime, timedelta

import pytest

import settings
from tests.configuration.refusals import problems


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
def test_an_address_that_is_none_shows_no_password(configure, variable: str, value: str) -> None:
    with pytest.raises(settings.SettingsError) as raised:
        configure(**{variable: value})

    assert variable in str(raised.value)
    assert "hunter2" not in str(raised.value)


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
def test_seconds_are_products_in_every_setting(configure, variable: str, value: str, seconds: int) -> None:
    assert getattr(configure(**{variable: value}), variable.lower()) == seconds


def test_part_of_a_second_is_a_timeout(configure) -> None:
    assert configure(OMNITRON_TIMEOUT_SECONDS="2.5").omnitron_timeout_seconds == 2.5


NUMBERS = [
    name.upper() for name, info in settings.Settings.model_fields.items() if info.annotation in (int, float)
]


@pytest.mark.parametrize("variable", NUMBERS)
@pytest.mark.parametrize(
    "value", ["99999999999999999999", "9" * 5000, "-1", "1_0", "1e1", "٣", "6**6", "6*", "nan", "inf", "1h"]
)
def test_a_number_that_the_code_cannot_use_is_refused(configure, variable: str, value: str) -> None:
    (problem,) = problems(configure, **{variable: value})

    assert problem.variable == variable
    assert value[:50] in problem.value
    assert problem.example
    assert len(str(problem)) < 400


@pytest.mark.parametrize("variable", NUMBERS)
def test_the_largest_number_allowed_can_be_used(configure, variable: str) -> None:
    info = settings.Settings.model_fields[variable.lower()]
    (most,) = (each.le for each in info.metadata if hasattr(each, "le"))

    loaded = getattr(configure(**{variable: str(most)}), variable.lower())

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
def test_quotes_that_are_left_in_a_value_are_named(configure, variable: str, value: str) -> None:
    (problem,) = problems(configure, **{variable: value})

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
def test_a_comment_that_is_left_in_a_value_is_named(configure, variable: str, value: str) -> None:
    (problem,) = problems(configure, **{variable: value})

    assert problem.variable == variable
    assert problem.problem == "has a comment after its value; put it on a line of its own"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("variable", ["OMNITRON_USERNAME", "OMNITRON_PASSWORD"])
@pytest.mark.parametrize("value", ["'hunter2'", "hunter2 # ours"])
def test_what_may_be_a_credential_as_it_is_is_only_warned_of(configure, variable: str, value: str) -> None:
    configure(**{variable: value})

    (warning,) = settings.warnings()

    assert warning.startswith(f"{variable} has ")
    assert "hunter2" not in warning


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
