"""What `oms up` says at its end."""

from datetime import timedelta
from typing import Any

from oms_workers.cli.up import tasks_that_ran
from oms_workers.database import database_now
from oms_workers.scheduling import table


def test_it_says_how_many_tasks_ran_and_which_did_not(oms: Any, monkeypatch: Any) -> None:
    before = database_now() - timedelta(seconds=1)
    monkeypatch.setenv("OMNITRON_ORDERS", "false")
    assert oms("run", "archive-old-audit-events").exit_code == 0
    enabled = len(table.tasks()) - 1

    said = tasks_that_ran(before)

    assert said.startswith(f"1 of {enabled} tasks ran; these did not: fulfil-waiting-orders, ")
    assert "archive-old-audit-events" not in said
    assert "get-omnitron-orders-cron" not in said
    assert tasks_that_ran(database_now()).startswith(f"0 of {enabled} tasks ran")
