"""`oms run`: a task now, in this process."""

import json
import sys

import pytest

import settings
from oms_workers.cli.app import main
from oms_workers.database import connection_parameters, rows
from oms_workers.scheduling import ledger
from oms_workers.scheduling.liveness import Liveness
from tests.examples import FILES
from tests.orders.samples import an_order, store_orders


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


def test_a_task_that_is_not_there_is_a_wrong_argument(
    oms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["oms", "run", "nonsense"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "No task is called 'nonsense'" in capsys.readouterr().err
