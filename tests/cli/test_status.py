"""`oms status`: what ran, what did not, what waits."""

import json

import pytest
import redis

from oms_workers.operation import queues
from oms_workers.scheduling import table
from tests.examples import FILES
from tests.orders.samples import an_order, store_orders


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
