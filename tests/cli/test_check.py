"""`oms check`: whether a deploy can work."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import settings
from oms_workers.database import execute
from tests.examples import FILES
from tests.orders import hub as faults
from tests.orders.hub import TOKEN, Hub, serve


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the settings lead to."""
    with serve(Hub()) as running:
        monkeypatch.setenv("OMNITRON_URL", running.url)
        monkeypatch.setenv("OMNITRON_TOKEN", TOKEN)
        yield running


def test_check_is_content_with_a_whole_configuration(oms, hub: Hub) -> None:
    oms("load", *FILES)

    ended = oms("check")

    assert ended.exit_code == 0, ended.output
    assert ended.stderr == ""
    (call,) = hub.calls_to("/api/i1/orders/")
    assert call["limit"] == "1"


def test_check_warns_of_a_hub_that_refuses_the_token(oms, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    oms("load", *FILES)
    monkeypatch.setenv("OMNITRON_TOKEN", "hunter2")

    ended = oms("check")

    assert ended.exit_code == 0
    assert ended.stderr.startswith("warning: Omnitron refuses our credentials")
    assert "hunter2" not in ended.output


def test_check_warns_of_a_hub_that_refuses_the_password(
    oms, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMNITRON_TOKEN")
    monkeypatch.setenv("OMNITRON_USERNAME", "oms")
    monkeypatch.setenv("OMNITRON_PASSWORD", "hunter2")

    ended = oms("check")

    assert ended.exit_code == 0
    assert "warning: Omnitron refuses OMNITRON_USERNAME and OMNITRON_PASSWORD" in ended.stderr
    assert "hunter2" not in ended.output


@pytest.mark.parametrize("do", [faults.drop, faults.status(503), faults.status(500), faults.html])
def test_check_warns_once_of_a_hub_that_is_away(oms, hub: Hub, do: Any) -> None:
    oms("load", *FILES)
    hub.fail("/api/i1/orders/", do, times=9)

    ended = oms("check")

    assert ended.exit_code == 0
    assert ended.stderr.startswith("warning: Omnitron cannot be asked now")
    assert len(ended.stderr.splitlines()) == 1
    assert len(hub.calls) == 1


def test_check_does_not_ask_a_hub_from_which_nothing_is_pulled(
    oms, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITRON_ORDERS", "false")

    assert oms("check").exit_code == 0
    assert hub.calls == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("TRUNCATE locations CASCADE", "No location is known"),
        ("UPDATE locations SET is_default = false", "No location is marked is_default"),
        ("UPDATE scenarios SET active = false", "No scenario is active"),
        ("DELETE FROM stock", "No stock is known"),
    ],
)
def test_check_warns_of_tables_with_which_nothing_is_sent(oms, hub: Hub, statement: str, said: str) -> None:
    oms("load", *FILES)
    execute(statement)

    ended = oms("check")

    assert ended.exit_code == 0
    (warning,) = ended.stderr.splitlines()
    assert warning.startswith(f"warning: {said}")
    assert "`oms load`" in warning


def test_check_names_what_an_enabled_task_lacks(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = oms("check")

    assert ended.exit_code == 2
    assert "OMNITRON_URL: is not set" in ended.stderr
    assert "OMNITRON_TOKEN: is not set" in ended.stderr

    monkeypatch.setenv("OMNITRON_ORDERS", "false")
    assert oms("check").exit_code == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "postgres://oms:hunter2@127.0.0.1:1/oms"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0"),
    ],
)
def test_check_says_which_server_does_not_answer(
    tmp_path: Path, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        **os.environ,
        variable: value,
        "OMNITRON_ORDERS": "false",
        "PYTHONPATH": str(Path(settings.__file__).parent),
    }
    command = [sys.executable, "-m", "oms_workers", "check"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert f"does not answer at {variable}" in ended.stderr
    assert "hunter2" not in ended.stderr
