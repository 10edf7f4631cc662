"""The environment, read whole and refused by name."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import settings
from oms_workers.configuration.cadence import Crontab
from tests.configuration.refusals import problems
from tests.seed import OPERATIONS, Operation

PROJECT = Path(settings.__file__).parent


PROGRAMS = {
    "oms": [sys.executable, "-m", "oms_workers", "check"],
    "dramatiq": [sys.executable, "-m", "dramatiq", "schedules", "-p", "1", "-t", "1"],
    "periodiq": [sys.executable, "-c", "from periodiq import entrypoint; entrypoint()", "schedules"],
}


def test_all_errors_of_all_variables_are_reported_together(configure) -> None:
    found = problems(
        configure,
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


def test_no_secret_is_shown_by_a_repr(configure) -> None:
    shown = repr(
        configure(
            DATABASE_URL="postgres://oms:hunter2@db/oms",
            OMNITRON_TOKEN="hunter2",
            OMNITRON_PASSWORD="hunter2",
        )
    )

    assert "hunter2" not in shown


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.env_key)
def test_the_documents_examples_are_valid(
    configure, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    key = operation.env_key

    assert configure(**{key: "false"}).switch(key).enabled is False
    assert (
        configure(**{f"{key}_SCHEDULE": operation.schedule_example}).switch(key).source == f"{key}_SCHEDULE"
    )
    monkeypatch.delenv(f"{key}_SCHEDULE")
    crontab = configure(**{f"{key}_CRONTAB": operation.crontab_example}).switch(key).cadence
    assert crontab == Crontab(operation.crontab_example.replace(",", " "), settings.current().zone)


def test_the_keys_are_the_documents() -> None:
    assert tuple(operation.env_key for operation in OPERATIONS) == settings.TASK_KEYS


def test_what_is_missing_is_said_beside_what_is_wrong(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")

    with pytest.raises(settings.SettingsError) as raised:
        configure(TICK_SECONDS="0", OMNITRON_ORDERS_CRONTAB="61 * * * *")

    assert {problem.variable for problem in raised.value.problems} == {
        "DATABASE_URL",
        "REDIS_URL",
        "TICK_SECONDS",
        "OMNITRON_ORDERS_CRONTAB",
    }


def test_the_machines_own_zone_is_none_of_the_database(configure) -> None:
    with pytest.raises(settings.SettingsError, match="TIME_ZONE='localtime'"):
        configure(TIME_ZONE="localtime")


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Europe/Paris"])
def test_no_zone_is_warned_of(configure, zone: str) -> None:
    configure(TIME_ZONE=zone)

    assert settings.warnings() == []


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


def test_an_archive_that_would_keep_nothing_is_warned_of(configure) -> None:
    configure(ARCHIVED_AUDIT_EVENTS_DAYS="121")
    assert settings.warnings() == []

    configure(ARCHIVED_AUDIT_EVENTS_DAYS="120")
    (said,) = settings.warnings()

    assert "the archive keeps nothing" in said
