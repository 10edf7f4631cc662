"""The size and growth of our tables, and the warning of one that is not cleaned as fast as it grows."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from oms_workers.base.sizes import measure
from oms_workers.cli import status
from oms_workers.database import database_now, execute, rows
from oms_workers.operation.tables import find_growing, tables
from oms_workers.retention import registered_tables
from tests.orders.samples import an_order, store_orders

DAY = timedelta(days=1)


def store_events(count: int, age: timedelta) -> None:
    execute(
        """
        INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
        SELECT now() - %s, 'tests', 'order', n, 'planned', '{}' FROM generate_series(1, %s) AS n
        """,
        (age, count),
    )
    # What is counted on top of ANALYZE would be counted twice.
    rows("SELECT pg_stat_force_next_flush()")
    execute("ANALYZE audit_events")


def test_status_has_the_size_rows_and_growth_of_every_table(oms: Any) -> None:
    measure(database_now() - 2 * DAY)
    execute("UPDATE table_sizes SET rows = 0")
    store_events(3_000, DAY)

    found = json.loads(oms("status", "--json").output)["tables"]

    assert sorted(line["name"] for line in found) == registered_tables()
    assert [line["bytes"] for line in found] == sorted((line["bytes"] for line in found), reverse=True)
    events = next(line for line in found if line["name"] == "audit_events")
    assert events["rows"] == 3_000
    assert events["rows_a_day"] in (1_499, 1_500)


def test_a_person_sees_the_large_tables(oms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store_events(3_000, DAY)
    assert "Tables" not in oms("status").output

    monkeypatch.setattr(status, "SHOWN_FROM", 300_000)
    said = " ".join(oms("status").output.split())

    assert "Tables table size rows, about growth a day rows a day audit_events" in said
    assert "3,000 not known yet" in said


def test_a_table_that_grows_faster_than_it_is_cleaned_is_a_finding(oms: Any) -> None:
    now = database_now()
    assert [*find_growing(tables(now), now)] == []

    measure(now - 2 * DAY)
    execute("UPDATE table_sizes SET rows = 0")
    store_events(10, timedelta(days=123))

    (said,) = find_growing(tables(now), now)
    assert said == (
        "audit_events grows faster than it is cleaned, by 5 rows a day: events of the audit trail that are"
        " older than AUDIT_EVENTS_OLDER_THAN_DAYS=120 are there since more than 2 days; see whether"
        " archive-old-audit-events runs."
    )
    assert said in json.loads(oms("status", "--json").output)["findings"]
    assert oms("status", "--check").exit_code == 1


def test_more_rows_than_there_may_be_are_a_finding(db: None, configure: Any) -> None:
    configure(AUDIT_EVENTS_MAX_ROWS="1000")
    store_events(1_050, DAY)
    now = database_now()
    assert [*find_growing(tables(now), now)] == []

    store_events(100, DAY)

    (said,) = find_growing(tables(now), now)
    assert said.startswith("audit_events has about 1,150 rows, and AUDIT_EVENTS_MAX_ROWS=1000;")


def test_a_task_removes_the_old_rows_of_its_tables_and_says_how_many(oms: Any) -> None:
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
        SELECT 'LAMP', 1, 1, 'received', 'tests', now() - interval '91 days' FROM generate_series(1, 7)
        """
    )

    found = json.loads(oms("run", "daily-clear-inventory-discrepancies", "--json").output)

    assert found["result"] == {"cleared": 0, "stock_movements_summed": 7}
    assert rows("SELECT quantity FROM stock_movements") == [(7,)]


def test_the_days_of_the_archive_are_the_tables_the_variables_or_the_command_lines(
    oms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (130, 110, 40, 20):
        store_events(1, timedelta(days=days))

    def archived(*arguments: str) -> int:
        said = oms("run", "archive-old-audit-events", "--json", *arguments)
        assert said.exit_code == 0, said.output
        return int(json.loads(said.output)["result"]["archived"])

    assert archived() == 1
    monkeypatch.setenv("AUDIT_EVENTS_OLDER_THAN_DAYS", "100")
    assert archived() == 1
    assert archived("--older-than", "30") == 1
    assert archived() == 0


def test_another_task_does_not_take_the_days(oms: Any) -> None:
    ended = oms("run", "db-maintenance", "--older-than", "30")

    assert ended.exit_code == 2
    assert "db-maintenance does not take --older-than" in ended.stderr


def test_a_run_of_the_maintenance_is_shown_table_by_table(oms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_MAINTENANCE_TABLES", "stock,ordrs")

    said = " ".join(oms("run", "DB_MAINTENANCE").output.split())

    assert "db-maintenance succeeded: vacuumed 1, skipped 1" in said
    assert "ordrs" in said
    assert "did you mean orders?" in said


def test_a_plan_whose_trace_is_gone_is_still_explained(oms: Any, package: str) -> None:
    execute("UPDATE order_execution_plans SET context = context - ARRAY['rules', 'scenario', 'unplaced']")

    said = oms("explain", "7").output

    assert "attempt 1" in said
    assert "Its trace is not kept any more; see PLAN_TRACES_DAYS." in said


def test_rows_that_are_not_meant_count_for_no_limit(oms: Any, configure: Callable[..., Any]) -> None:
    configure(PLAN_TRACES_MAX_ROWS=1_000)
    store_orders(an_order(7))
    plans = """
        INSERT INTO order_execution_plans (order_id, state, attempt, context, created_at)
        SELECT id, 'completed', n, %s, now() FROM orders, generate_series(1, 1200) AS n
    """
    execute(plans, ("{}",))
    execute("ANALYZE order_execution_plans")
    now = database_now()
    assert [*find_growing(tables(now), now)] == []

    execute(plans.replace("n, %s", "n + 1200, %s"), ('{"rules": []}',))
    execute("ANALYZE order_execution_plans")

    (said,) = find_growing(tables(now), now)
    assert "PLAN_TRACES_MAX_ROWS=1000" in said
