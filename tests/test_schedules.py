"""The task table against the operators' document, as `oms schedules --json` shows it."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

import settings
from oms_workers.cli.app import app
from oms_workers.configuration.cadence import Crontab, Interval
from schedules import TABLE
from tests.seed import OPERATIONS, Operation

NOW = "2026-11-23T12:00:30+00:00"
BY_KEY = {operation.env_key: operation for operation in OPERATIONS}
PRESENT = [BY_KEY[task.env_key] for task in TABLE]

#: The document's tasks that the table does not have yet. It must shrink: a task that came is taken out.
AWAITED = {
    "update-tracking-informations",
    "update-tracking-informations-seven-days",
    "update-transfer-shipments-tracking-informations",
    "undelivered-whisperer-tasks",
    "process-cancellation-plans",
    "rerun-plans-for-cancellation-waiting-packages",
    "whisperer_trigger_event_queue_events",
    "delete_old_webhook_request_records",
    "auto_run_ship_the_package_command",
}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch):
    """What `oms schedules --json` shows of one task, with these variables set."""
    before = settings.current()

    def show(operation: Operation, **variables: str) -> dict:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        ended = CliRunner().invoke(app, ["schedules", "--json", "--next", "3", "--now", NOW])
        assert ended.exit_code == 0, ended.output
        (found,) = [task for task in json.loads(ended.output) if task["env_key"] == operation.env_key]
        return found

    yield show
    settings._current = before


def product(text: str) -> int:
    seconds = 1
    for factor in text.split("*"):
        seconds *= int(factor)
    return seconds


@pytest.mark.parametrize("operation", PRESENT, ids=lambda operation: operation.env_key)
def test_names_keys_and_defaults_are_the_documents(shown, operation: Operation) -> None:
    found = shown(operation)

    assert (found["name"], found["task"]) == (operation.name, operation.task)
    assert (found["enabled"], found["source"]) == (True, "default")
    if "," in operation.default:
        assert (found["kind"], found["crontab"]) == ("crontab", operation.default.replace(",", " "))
    else:
        assert (found["kind"], found["seconds"]) == ("interval", product(operation.default))


@pytest.mark.parametrize("operation", PRESENT, ids=lambda operation: operation.env_key)
def test_a_schedule_of_the_documents_is_what_is_shown(shown, operation: Operation) -> None:
    key = f"{operation.env_key}_SCHEDULE"
    seconds = product(operation.schedule_example)

    found = shown(operation, **{key: operation.schedule_example})

    assert (found["kind"], found["seconds"], found["source"]) == ("interval", seconds, key)
    first, second, third = map(datetime.fromisoformat, found["next"])
    assert first.timestamp() % seconds == 0
    assert first > datetime.fromisoformat(NOW)
    assert second - first == third - second == timedelta(seconds=seconds)


@pytest.mark.parametrize("operation", PRESENT, ids=lambda operation: operation.env_key)
def test_a_crontab_of_the_documents_is_what_is_shown(shown, operation: Operation) -> None:
    key = f"{operation.env_key}_CRONTAB"
    minute, hour = operation.crontab_example.split(",")[:2]

    found = shown(operation, TIME_ZONE="Europe/Istanbul", **{key: operation.crontab_example})

    assert (found["kind"], found["seconds"], found["source"]) == ("crontab", None, key)
    assert found["crontab"] == operation.crontab_example.replace(",", " ")
    assert found["next"][0] == f"2026-11-24T{int(hour):02}:{int(minute):02}:00+03:00"


@pytest.mark.parametrize("operation", PRESENT, ids=lambda operation: operation.env_key)
def test_false_disables_the_task(shown, operation: Operation) -> None:
    assert shown(operation, **{operation.env_key: "false"})["enabled"] is False


def test_the_document_has_eighteen_tasks_of_three_variables_each() -> None:
    assert len(OPERATIONS) == len(BY_KEY) == len({operation.name for operation in OPERATIONS}) == 18
    for operation in OPERATIONS:
        key = operation.env_key
        assert operation.variables == (key, f"{key}_SCHEDULE", f"{key}_CRONTAB")
        assert (operation.disabled, operation.args) == ("false", ())


def test_the_table_is_whole_but_for_what_is_awaited() -> None:
    names = [task.name for task in TABLE]
    documented = [operation.name for operation in OPERATIONS]

    assert {*documented} - {*names} == AWAITED
    assert {*names} <= {*documented}
    assert names == [name for name in documented if name in names], "the rows are in the document's order"


def test_every_actor_of_the_table_is_the_documents() -> None:
    for task in TABLE:
        operation = BY_KEY[task.env_key]
        assert (task.path, task.name) == (operation.task, operation.name)
        assert (dict(task.kwargs), operation.args) == (operation.kwargs, ())
        # Without a variable that says otherwise, the settings give what the document has.
        assert task.arguments == operation.kwargs
        default = task.default
        text = default.expression.replace(" ", ",") if isinstance(default, Crontab) else str(default.seconds)
        expected = operation.default if "," in operation.default else str(product(operation.default))
        assert isinstance(default, Crontab | Interval)
        assert text == expected


def test_it_needs_no_server_and_no_other_setting(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(settings.__file__).parent),
        "OMNITRON_ORDERS_SCHEDULE": "90",
    }

    ended = subprocess.run(
        [sys.executable, "-m", "oms_workers", "schedules", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)[0]
    assert (found["seconds"], found["crontab"]) == (90, None)
