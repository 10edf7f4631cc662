"""The `oms` command against real servers."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import typer
from peewee import OperationalError
from typer.testing import CliRunner

import settings
from oms_workers.cli.app import app, main
from oms_workers.cli.up import UpError, _refuse_strangers
from oms_workers.database import connection_parameters, database, execute, rows
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.operation import queues
from oms_workers.operation.services import ServiceError, answering
from oms_workers.scheduling import ledger, process, table
from oms_workers.scheduling.liveness import Liveness
from tests.orders import hub as faults
from tests.orders.hub import TOKEN, Hub, serve
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


def test_the_version_is_that_of_the_package(oms) -> None:
    declared = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]["version"]

    ended = oms("--version")

    assert (ended.exit_code, ended.output) == (0, f"oms-workers {declared}\n")


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


def test_load_adds_and_changes_nothing_twice(oms) -> None:
    assert oms("load", *FILES).exit_code == 0
    levels = "SELECT sku, location_id, on_hand, reserved, safety FROM stock ORDER BY sku, location_id"
    before = rows(levels)
    moved = rows("SELECT count(*) AS n, sum(quantity) AS units FROM stock_movements")[0]
    assert moved.units == sum(line.on_hand for line in before)

    assert oms("load", *FILES).exit_code == 0

    assert rows(levels) == before
    assert rows("SELECT count(*) AS n, sum(quantity) AS units FROM stock_movements")[0] == moved
    assert rows("SELECT count(*) AS n FROM scenario_rules")[0].n == 6


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
    assert rows("SELECT count(*) AS n FROM locations")[0].n == 0


BURSA = {"code": "BURSA", "name": "Bursa", "type": "store", "is_default": True}


def test_load_reads_standard_input(oms, tmp_path: Path) -> None:
    runner, content = CliRunner(), json.dumps({"locations": [BURSA]})

    assert runner.invoke(app, ["load", "-"], input=content).exit_code == 0
    refused = runner.invoke(app, ["load", "-"], input='{"locations": [{"code": ""}]}')

    assert rows("SELECT code FROM locations") == [("BURSA",)]
    assert "standard input: locations.0.code" in str(refused.exception)
    assert "named twice" in str(runner.invoke(app, ["load", "-", "-"], input=content).exception)


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


@pytest.fixture
def package(oms) -> str:
    """The number of a package that waits at a location of the examples."""
    oms("load", *FILES)
    store_orders(an_order(7, skus=("CRUNCHY-ARMCHAIR", "RED-LAMP")))
    assert oms("run", "FULFIL_WAITING_ORDERS").exit_code == 0
    return "P1-1"


def test_command_runs_a_command_and_says_what_came_of_it(oms, package: str) -> None:
    ended = oms("command", package, "START_PREPARING")
    assert (ended.exit_code, ended.output) == (0, "P1-1 is preparing.\n")

    shown = oms(
        "command",
        package,
        "PRODUCT_NOT_FOUND_ADVANCED",
        "--missing",
        "RED-LAMP=1",
        "--stock",
        "all",
        "--reason",
        "the shelf is empty",
        "--json",
    )

    assert json.loads(shown.output) == {
        "number": package,
        "command": "PRODUCT_NOT_FOUND_ADVANCED",
        "state": "preparing",
    }
    (event,) = rows("SELECT actor, content FROM audit_events WHERE action = 'parted'")
    assert event.actor.startswith("operator ")
    assert event.content["reason"] == "the shelf is empty"


def test_command_without_arguments_lists_the_commands(oms) -> None:
    found = {line["command"]: line for line in json.loads(oms("command", "--json").output)}

    assert found["SHIP_THE_PACKAGE"]["states"] == ["packed"]
    assert found["DELIVER_TRANSFER"]["for"] == "transfer"
    assert "SHIP_THE_PACKAGE" in oms("command").output


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (
            ["P1-1", "SHIP_THE_PACKAGE"],
            1,
            "SHIP_THE_PACKAGE is for a package that is packed, and P1-1 is waiting",
        ),
        (["P9-9", "SHIP_THE_PACKAGE"], 1, "No package has the number 'P9-9'"),
        (["P1-1", "FLY"], 2, "No command is called 'FLY'. There are: BLOCK, CANCEL"),
        (["P1-1"], 2, "What is to be done with P1-1?"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP"], 2, "is not SKU=UNITS"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP=0"], 2, "is not SKU=UNITS"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP=9"], 1, "9 of 'RED-LAMP' cannot be missing"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--stock", "some"], 2, "'some' is no meaning"),
        (["P1-1", "CANCEL", "--missing", "RED-LAMP=1"], 2, "CANCEL does not take --missing"),
        (["P1-1", "BLOCK", "--stock", "all"], 2, "BLOCK does not take --stock"),
        (["P1-1", "PRODUCT_NOT_FOUND_ADVANCED"], 2, "PRODUCT_NOT_FOUND_ADVANCED needs --missing"),
        (
            ["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP=1", "--missing", "RED-LAMP=1"],
            2,
            "'RED-LAMP' is given twice",
        ),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", f"RED-LAMP={'9' * 5000}"], 2, "is not SKU=UNITS"),
        (["P1-1", "REFUSE", "--stock", "all", "--stock", "nothing"], 2, "--stock is given 2 times"),
        (["P1-1", "CANCEL", "--reason", "a", "--reason", "b"], 2, "--reason is given 2 times"),
        (["P1-1", "REFUSE", "--stock", ""], 2, "--stock is empty; is it a shell variable that is not set?"),
        (["P1-1", "CANCEL", "--reason", " "], 2, "--reason is empty"),
        (["P1-1", "CANCEL", "--reason", "a\0b"], 2, "--reason holds a sign that no text has"),
        (["", "CANCEL"], 2, "PACKAGE is empty; is it a shell variable that is not set?"),
        (["", ""], 2, "PACKAGE is empty"),
        ([""], 2, "PACKAGE is empty"),
        (["P1-1", ""], 2, "COMMAND is empty"),
        (["P1-1\udcff", "CANCEL"], 2, "PACKAGE holds a sign that no text has"),
        (["--missing", "RED-LAMP=1"], 2, "Which package? --missing was given without one"),
        (["--reason", "sold out"], 2, "Which package? --reason was given without one"),
    ],
)
def test_command_says_what_is_wrong_and_changes_nothing(
    oms,
    package: str,
    arguments: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = rows("SELECT state, version FROM packages")
    monkeypatch.setattr(sys, "argv", ["oms", "command", *arguments])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == status
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in shown
    assert rows("SELECT state, version FROM packages") == before


@pytest.mark.parametrize("command", ["explain", "release", "run"])
@pytest.mark.parametrize(("name", "said"), [("", "is empty"), (" ", "is empty"), ("7\0", "that no text has")])
def test_a_name_that_names_nothing_is_a_wrong_argument(oms, command: str, name: str, said: str) -> None:
    ended = oms(command, name)

    assert ended.exit_code == 2
    assert said in ended.stderr


def test_the_list_of_commands_says_which_options_each_takes(oms) -> None:
    found = {line["command"]: line["takes"] for line in json.loads(oms("command", "--json").output)}

    assert found["PRODUCT_NOT_FOUND"] == ["--missing", "--stock"]
    assert found["TRANSFER_OUT_OF_STOCK"] == ["--stock"]
    assert found["CANCEL"] == []
    assert "--missing, --stock" in " ".join(oms("command").output.split())


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


def test_explain_dry_run_plans_and_writes_nothing(oms, package: str) -> None:
    store_orders(an_order(8, skus=("CRUNCHY-ARMCHAIR", "A-SKU-THAT-NOBODY-HAS")))

    said = oms("explain", "8", "--dry-run")
    (planned,) = json.loads(oms("explain", "8", "--dry-run", "--json").output)

    assert said.exit_code == 0
    assert "planned now, nothing written" in said.output
    assert planned["of"] == "order 8"
    assert [package["items"][0]["sku"] for package in planned["packages"]] == ["CRUNCHY-ARMCHAIR"]
    assert [line["sku"] for line in planned["leftovers"]] == ["A-SKU-THAT-NOBODY-HAS"]
    assert rows("SELECT state FROM orders WHERE number = '8'") == [("waiting",)]


def test_explain_shows_what_a_ranking_compared_and_what_was_replanned(oms, package: str) -> None:
    oms("command", package, "PRODUCT_NOT_FOUND", "--stock", "nothing")
    oms("run", "FULFIL_REPLANNING_ORDERS")

    (explained,) = json.loads(oms("explain", "7", "--json").output)
    said = oms("explain", "7").output

    assert [plan["package"] for plan in explained["plans"]] == [None, package]
    first_rule = explained["plans"][0]["context"]["rules"][0]
    assert first_rule["locations"][0]["rank"] == {"priority": 1}
    assert "of package P1-1" in said
    assert "priority 1" in said
    assert "has rejected what it has of what is left" in said


def test_explain_says_how_many_attempts_are_not_kept(oms, package: str) -> None:
    oms("command", package, "PRODUCT_NOT_FOUND", "--stock", "nothing")
    oms("run", "FULFIL_REPLANNING_ORDERS")
    assert "not kept" not in oms("explain", "7").output
    execute("UPDATE order_execution_plans SET attempt = 9 WHERE attempt = 2")

    (explained,) = json.loads(oms("explain", "7", "--json").output)

    assert explained["attempts_not_kept"] == 7
    assert "7 older attempts that placed nothing are not kept" in oms("explain", "7").output


def test_explain_gives_the_reason_of_each_refusal(oms, package: str) -> None:
    oms("command", package, "REFUSE", "--missing", "RED-LAMP=1", "--reason", "the roof leaks")

    said = " ".join(oms("explain", "7").output.split())
    (explained,) = json.loads(oms("explain", "7", "--json").output)

    assert "P1-1: rejected by operator " in said
    assert "missing RED-LAMP 1" in said
    assert "reason the roof leaks" in said
    assert explained["packages"][0]["last_event"]["content"]["reason"] == "the roof leaks"


def test_explain_says_why_an_order_could_not_be_planned(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    oms("load", *FILES)
    store_orders(an_order(7))

    def fail(self: Any, order: Any) -> Any:
        raise ZeroDivisionError("a planner's bug")

    monkeypatch.setattr(Planner, "plan", fail)
    oms("run", "FULFIL_WAITING_ORDERS")

    said = " ".join(oms("explain", "7").output.split())

    assert "order 7: planning_failed by oms.fulfilment.tasks.fulfil_waiting_orders" in said
    assert "problem ZeroDivisionError: a planner's bug" in said
    assert "it is planned at the earliest at" in said


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


def test_a_task_that_is_not_there_is_a_wrong_argument(
    oms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["oms", "run", "nonsense"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "No task is called 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("now", "said"),
    [("9999-12-31T23:59:59", "ISO 8601"), ("0001-01-01", "ISO 8601"), ("soon", "ISO 8601"), ("", "is empty")],
)
def test_schedules_refuses_an_instant_that_no_cadence_knows(oms, now: str, said: str) -> None:
    ended = oms("schedules", "--now", now)

    assert ended.exit_code == 2
    assert said in ended.stderr


def test_status_without_redis_still_shows_the_ledger(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise redis.ConnectionError("Connection refused")

    monkeypatch.setattr(queues, "depths", refuse)

    ended = oms("status", "--json")

    assert ended.exit_code == 1
    assert "Redis does not answer at REDIS_URL" in ended.stderr
    found = json.loads(ended.stdout)
    assert found["queues"] is None
    assert found["tasks"][0]["name"] == "get-omnitron-orders-cron"


def test_up_takes_no_set_up_of_somebody_s_own_for_the_examples(db: None) -> None:
    execute("INSERT INTO locations (code, name, type) VALUES ('MY-SHOP', 'Mine', 'store')")

    with pytest.raises(UpError, match="holds the location MY-SHOP"):
        _refuse_strangers()


def test_a_lock_that_others_hold_is_no_silence() -> None:
    refused = OperationalError("canceling statement due to lock timeout")
    refused.orig = psycopg.errors.LockNotAvailable()

    with pytest.raises(ServiceError, match="PostgreSQL has refused"), answering("PostgreSQL"):
        raise refused


@pytest.mark.parametrize("width", ["80", "40"])
def test_what_matters_is_whole_on_a_narrow_terminal(oms, width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("UPDATE_ORDER_EXECUTION_PLAN_CONTEXT_SCHEDULE", "120")
    oms("load", *FILES)
    store_orders(an_order(1))
    oms("run", "FULFIL_WAITING_ORDERS")

    schedules, status = oms("schedules").output, oms("status").output

    for said in (schedules, status):
        assert max(map(len, said.splitlines())) <= int(width)
        assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert "UPDATE_ORDER_EXECUTION_PLAN_CONTEXT_SCHEDULE" in "".join(schedules.split())
    for task in table.tasks():
        assert task.name in schedules
        assert task.name in status
    assert "outcome succeeded" in " ".join(status.split())


def test_what_is_empty_takes_no_line_of_the_status(oms) -> None:
    store_orders(an_order(1))

    said = oms("status").output

    backlog = said[said.index("Backlog") :].partition("!")[0]
    assert [line.split()[:2] for line in backlog.splitlines()[2:] if line] == [["orders", "waiting"]]
    assert "Queues" not in said
    assert len(json.loads(oms("status", "--json").output)["backlog"]) > 10


def test_a_status_in_which_nothing_waits_says_so(oms) -> None:
    assert "Nothing waits." in oms("status").output
