"""The `oms` command against real servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import settings
from oms_workers.cli.app import app, main
from oms_workers.database import connection_parameters, row, rows
from oms_workers.scheduling import ledger, process
from oms_workers.scheduling.liveness import Liveness
from tests.orders.samples import an_order, store_orders

EXAMPLES = Path(settings.__file__).parent / "examples"
FILES = [str(EXAMPLES / f"{name}.json") for name in ("locations", "stock", "scenarios")]


@pytest.fixture
def oms(db: None, monkeypatch: pytest.MonkeyPatch):
    """Run `oms` with these arguments; the exit status and what was printed."""
    before = settings.current()
    runner = CliRunner()

    def invoke(*arguments: str):
        return runner.invoke(app, [*arguments])

    yield invoke
    process.stop_liveness()
    settings._current = before


def test_each_command_has_help_with_an_example(oms) -> None:
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        said = oms(command, "--help").output
        assert f"Example: oms {command}" in said


def test_check_is_content_with_a_whole_configuration(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITRON_URL", "https://hub.example.com")
    monkeypatch.setenv("OMNITRON_TOKEN", "hush")

    ended = oms("check")

    assert ended.exit_code == 0, ended.output


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


def test_load_adds_and_changes_nothing_twice(oms) -> None:
    assert oms("load", *FILES).exit_code == 0
    levels = "SELECT sku, location_id, on_hand, reserved, safety FROM stock ORDER BY sku, location_id"
    before = rows(levels)
    moved = row("SELECT count(*) AS n, sum(quantity) AS units FROM stock_movements")
    assert moved.units == sum(line.on_hand for line in before)

    assert oms("load", *FILES).exit_code == 0

    assert rows(levels) == before
    assert row("SELECT count(*) AS n, sum(quantity) AS units FROM stock_movements") == moved
    assert row("SELECT count(*) AS n FROM scenario_rules").n == 6


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "merchant.json"),
        ('{"shops": []}', "shops"),
        ('{"locations": [{"code": "A", "name": "A", "type": "store", "priorty": 1}]}', "locations.0.priorty"),
        ('{"stock": [{"sku": "A", "location": "NOWHERE", "on_hand": 1}]}', "NOWHERE"),
        (
            '{"scenarios": [{"name": "x", "rules": [{"name": "r", "ranking": ["luck"]}]}]}',
            "'luck' is no ranking",
        ),
        ('{"scenarios": [{"name": "x", "conditions": {"weather": ["sun"]}}]}', "'weather' is no condition"),
        (
            '{"scenarios": [{"name": "x", "rules": [{"name": "r", "mode": "best"}]}]}',
            "scenarios.0.rules.0.mode",
        ),
    ],
)
def test_load_refuses_by_name_and_writes_nothing(oms, tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "merchant.json"
    file.write_text(content)

    ended = oms("load", *FILES, str(file))

    assert ended.exit_code == 1
    assert named in str(ended.exception)
    assert row("SELECT count(*) AS n FROM locations").n == 0


def test_run_plans_what_waits_and_is_recorded_as_manual(oms) -> None:
    oms("load", *FILES)
    store_orders(an_order(1), an_order(2))

    ended = oms("run", "FULFIL_WAITING_ORDERS", "--json")

    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.output)["result"]["orders"] == 2
    (run,) = rows("SELECT * FROM scheduled_runs")
    assert (run.trigger, run.state, run.slot) == ("manual", "succeeded", run.started_at)


@pytest.mark.parametrize(
    "name", ["fulfil-waiting-orders", "FULFIL_WAITING_ORDERS", "oms.fulfilment.tasks.fulfil_waiting_orders"]
)
def test_run_knows_a_task_by_name_key_and_path(oms, name: str) -> None:
    assert oms("run", name).exit_code == 0


def test_run_works_on_a_disabled_task(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULFIL_WAITING_ORDERS", "false")

    assert oms("run", "FULFIL_WAITING_ORDERS").exit_code == 0


def test_run_says_that_another_run_lives(
    oms, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Liveness(connection_parameters(settings.current())).start()
    task = "oms.fulfilment.tasks.fulfil_waiting_orders"
    assert ledger.claim_manually(task, worker=other.worker, wait=lambda _: None)
    monkeypatch.setattr("sys.argv", ["oms", "run", "FULFIL_WAITING_ORDERS"])

    with pytest.raises(SystemExit) as exited:
        main()

    other.stop()
    assert exited.value.code == 1
    assert "Another run of fulfil-waiting-orders is at work" in capsys.readouterr().err


def test_an_unknown_task_is_an_error_that_lists_the_known(oms) -> None:
    ended = oms("run", "FULFIL_WAITING_ORDER")

    assert ended.exit_code == 1
    assert "get-omnitron-orders-cron" in str(ended.exception)


def test_status_has_what_the_design_promises(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULFIL_WAITING_ORDERS", "false")
    oms("load", *FILES)
    store_orders(an_order(1))
    oms("run", "FULFIL_WAITING_ORDERS")
    store_orders(an_order(2))

    found = json.loads(oms("status", "--json").output)

    assert found["clock"]["alive"] is False
    assert {queue["name"] for queue in found["queues"]} == {"default", "omnitron"}
    task = next(task for task in found["tasks"] if task["name"] == "fulfil-waiting-orders")
    assert task["enabled"] is False
    assert task["next"] is None
    assert task["last_run"]["state"] == "succeeded"
    assert {"slot", "trigger", "attempts", "started_at", "finished_at", "seconds", "result", "error"} <= set(
        task["last_run"]
    )
    waiting = next(line for line in found["backlog"] if line["state"] == "orders waiting")
    assert waiting["count"] == 1
    assert waiting["stuck"] == "nothing picks these up: FULFIL_WAITING_ORDERS disabled"


def test_status_is_readable_when_nothing_ever_ran(oms) -> None:
    said = oms("status").output

    assert "clock SILENT" in said
    assert "never ran" in said


def test_explain_tells_where_each_line_could_have_gone(oms) -> None:
    oms("load", *FILES)
    store_orders(an_order(7, skus=("CRUNCHY-LAMP",)))
    oms("run", "FULFIL_WAITING_ORDERS")

    said = oms("explain", "7").output

    assert "scenario everything else" in said
    assert "rule one warehouse (single, ranked by priority)" in said
    assert "chosen" in said
    assert "KADIKOY" in said
    assert "has the type store, which the rule does not use" in said
    (found,) = json.loads(oms("explain", "7", "--json").output)
    assert found["packages"][0]["items"] == [{"sku": "CRUNCHY-LAMP", "quantity": 1}]


def test_explain_shows_a_rejected_order_with_its_reason(oms) -> None:
    store_orders(an_order(8, skus=()))

    said = oms("explain", "8").output

    assert "was rejected: the order has no items" in said


def test_explain_of_an_unknown_order_is_an_error(oms) -> None:
    assert oms("explain", "404").exit_code == 1
