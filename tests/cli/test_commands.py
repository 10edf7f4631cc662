"""The `oms` command against real servers."""

import json
import sys
import tomllib

import psycopg
import pytest
import typer
from peewee import OperationalError

from oms_workers.cli.app import app
from oms_workers.cli.up import UpError, _refuse_strangers
from oms_workers.database import database, execute, rows
from oms_workers.operation.services import ServiceError, answering
from tests.examples import EXAMPLES


def test_each_command_has_help_with_an_example(oms) -> None:
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        said = oms(command, "--help").output
        assert f"Example: oms {command}" in said


def test_the_version_is_that_of_the_package(oms) -> None:
    declared = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]["version"]

    ended = oms("--version")

    assert (ended.exit_code, ended.output) == (0, f"oms-workers {declared}\n")


@pytest.mark.parametrize("command", ["explain", "release", "run"])
@pytest.mark.parametrize(("name", "said"), [("", "is empty"), (" ", "is empty"), ("7\0", "that no text has")])
def test_a_name_that_names_nothing_is_a_wrong_argument(oms, command: str, name: str, said: str) -> None:
    ended = oms(command, name)

    assert ended.exit_code == 2
    assert said in ended.stderr


def test_reconcile_finds_and_mends(oms, package: str) -> None:
    assert oms("reconcile").exit_code == 0
    execute("UPDATE stock SET reserved = reserved + 3 WHERE sku = 'RED-LAMP' AND location_id = 1")

    found = oms("reconcile", "--json")
    assert found.exit_code == 1
    (wrong,) = json.loads(found.output)["counters"]
    assert (wrong["sku"], wrong["counter"] - wrong["live"]) == ("RED-LAMP", 3)
    assert "oms reconcile --fix" in oms("reconcile").output

    assert oms("reconcile", "--fix").exit_code == 0
    assert oms("reconcile").exit_code == 0


def test_release_lets_a_held_order_go(oms, package: str) -> None:
    execute("UPDATE orders SET state = 'held'")

    assert oms("release", "7").exit_code == 0

    assert rows("SELECT state FROM orders") == [("waiting",)]


def test_a_schema_that_is_not_there_is_said_with_the_way_out(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.atomic() as changes:
        execute("ALTER TABLE orders RENAME TO orders_of_before")
        for arguments in (["status"], ["explain", "7"]):
            monkeypatch.setattr(sys, "argv", ["oms", *arguments])
            with pytest.raises(ServiceError, match="run `oms migrate`"), database.atomic():
                raise oms(*arguments).exception
        changes.rollback()


@pytest.mark.parametrize(
    ("now", "said"),
    [("9999-12-31T23:59:59", "ISO 8601"), ("0001-01-01", "ISO 8601"), ("soon", "ISO 8601"), ("", "is empty")],
)
def test_schedules_refuses_an_instant_that_no_cadence_knows(oms, now: str, said: str) -> None:
    ended = oms("schedules", "--now", now)

    assert ended.exit_code == 2
    assert said in ended.stderr


def test_up_takes_no_set_up_of_somebody_s_own_for_the_examples(db: None) -> None:
    execute("INSERT INTO locations (code, name, type) VALUES ('MY-SHOP', 'Mine', 'store')")

    with pytest.raises(UpError, match="holds the location MY-SHOP"):
        _refuse_strangers()


def test_a_lock_that_others_hold_is_no_silence() -> None:
    refused = OperationalError("canceling statement due to lock timeout")
    refused.orig = psycopg.errors.LockNotAvailable()

    with pytest.raises(ServiceError, match="PostgreSQL has refused"), answering("PostgreSQL"):
        raise refused
