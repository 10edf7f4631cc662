"""Variables that nearly are ours are warned of, and those of others are not."""

import pytest

import settings


def test_a_misspelt_key_is_warned_of_and_a_strangers_is_not(configure) -> None:
    configure(
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
def test_a_near_miss_of_any_variable_is_warned_of(configure, variable: str, meant: str) -> None:
    configure(**{variable: "hunter2"})

    (warning,) = settings.warnings()

    assert warning.startswith(f"{variable} is not known and has no effect; ")
    assert meant in warning
    assert "hunter2" not in warning


@pytest.mark.parametrize("name", settings.Settings.model_fields)
def test_every_variable_has_near_misses(configure, name: str) -> None:
    # A letter left out in the middle.
    misspelt = (name[: len(name) // 2] + name[len(name) // 2 + 1 :]).upper()
    configure(**{misspelt: "1"})

    (warning,) = settings.warnings()

    assert warning.endswith(f"is {name.upper()} meant?")


def test_what_belongs_to_others_is_not_warned_of(configure) -> None:
    configure(
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
