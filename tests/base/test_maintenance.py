"""Database maintenance: dead rows go, and what cannot be done is said by name while the rest is done."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

import settings
from oms_workers.base import maintenance, tasks
from oms_workers.base.interruption import interrupted_by
from oms_workers.base.maintenance import maintain
from oms_workers.base.sizes import growth, measure
from oms_workers.broker import stopping
from oms_workers.database import connection, connection_parameters, database_now, execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, load_merchant
from tests.orders.samples import an_order, store_orders

ROWS = 2_000


def a_run() -> Run:
    return Run(database_now(), budget=timedelta(minutes=1))


@contextmanager
def another_session(**parameters: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(**{**connection_parameters(settings.current()), **parameters}) as session:
        yield session
        session.rollback()


def store_rows() -> None:
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
        SELECT 'LAMP', n, 1, 'received', 'tests', now() FROM generate_series(1, %s) AS n
        """,
        (ROWS,),
    )


def kill_rows() -> None:
    execute("DELETE FROM stock_movements")
    rows("SELECT pg_stat_force_next_flush()")


@pytest.fixture(autouse=True)
def clean(db: None) -> None:
    """What other tests have left dead is not counted."""
    execute("VACUUM stock_movements")
    execute("VACUUM stock")


def only(found: dict[str, Any]) -> dict[str, Any]:
    (table,) = found["tables"]
    return table


def test_dead_rows_fall_to_zero_and_the_sizes_are_told() -> None:
    store_rows()
    kill_rows()

    found = maintain(a_run(), ["stock_movements"])

    assert found["vacuumed"] == 1
    assert found["dead_rows_removed"] == ROWS
    table = only(found)
    assert (table["name"], table["dead_before"], table["dead_after"]) == ("stock_movements", ROWS, 0)
    assert table["bytes_before"] > 0
    assert table["bytes_after"] > 0
    assert "holder" not in table


def test_it_says_who_keeps_dead_rows_from_being_removed() -> None:
    store_rows()
    with another_session(application_name="a report") as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM stock_movements")
        kill_rows()

        found = maintain(a_run(), ["stock_movements"])

        table = only(found)
        assert (table["dead_before"], table["dead_after"]) == (ROWS, ROWS)
        assert table["holder"].startswith(f"the session with pid {reader.info.backend_pid} a report of ")
    assert only(maintain(a_run(), ["stock_movements"]))["dead_after"] == 0


def test_each_table_that_cannot_be_done_is_named_and_the_others_are_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = [
        "stock",
        "ordrs",
        "missing",
        "audit_trail",
        "orders_number",
        "orders; drop table orders",
        "packages",
    ]
    with another_session() as other:
        other.execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")

        found = maintain(a_run(), names)

    assert {table["name"]: table.get("skipped") for table in found["tables"]} == {
        "stock": "it is locked by another session",
        "ordrs": "no table is called so, see DB_MAINTENANCE_TABLES; did you mean orders?",
        "missing": "no table is called so, see DB_MAINTENANCE_TABLES",
        "audit_trail": "it is a view, and only tables can be vacuumed",
        "orders_number": "it is an index, and only tables can be vacuumed",
        "orders; drop table orders": "no table is called so, see DB_MAINTENANCE_TABLES",
        "packages": None,
    }
    assert (found["vacuumed"], found["skipped"]) == (1, 6)
    assert rows("SELECT to_regclass('orders') IS NOT NULL") == [(True,)]
    assert "The table ordrs was not vacuumed" in caplog.text


def test_a_name_is_the_catalogues_and_is_quoted() -> None:
    execute('CREATE TABLE "Odd ""name; --" (id int)')
    try:
        found = maintain(a_run(), ['Odd "name; --'])
    finally:
        execute('DROP TABLE "Odd ""name; --"')

    assert found["vacuumed"] == 1


def test_a_pooled_connection_has_its_own_limits_afterwards() -> None:
    def limits() -> list[Any]:
        names = ("statement_timeout", "lock_timeout", "vacuum_cost_delay", "vacuum_cost_limit")
        return [rows("SELECT current_setting(%s)", (name,)) for name in names]

    before = limits()
    maintain(a_run(), ["stock"])

    assert limits() == before
    left = rows("SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'VACUUM%%'")
    assert left == []


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A VACUUM that sleeps after each page."""
    monkeypatch.setattr(maintenance, "COST_DELAY_MILLISECONDS", 100)
    monkeypatch.setattr(maintenance, "COST_LIMIT", 1)


def test_a_table_that_takes_too_long_is_left_and_the_next_one_is_done(
    slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "MOST_SECONDS", 1)
    store_rows()
    kill_rows()

    found = maintain(a_run(), ["stock_movements", "missing"])

    assert [table["name"] for table in found["tables"]] == ["stock_movements", "missing"]
    assert found["tables"][0]["skipped"] == "it took longer than 1 s, or than the run has left"


def test_a_vacuum_is_cancelled_when_the_process_has_to_stop(slow: None) -> None:
    store_rows()
    kill_rows()
    run = a_run()
    timer = threading.Timer(0.3, stopping.set)
    timer.start()
    try:
        found = maintain(run, ["stock_movements", "stock"])
    finally:
        timer.join()
        stopping.clear()

    assert run.stopped_by == "stopped at a batch's end: the process was told to stop"
    assert only(found)["skipped"] == run.stopped_by


def test_what_is_interrupted_is_only_the_block() -> None:
    run = Run(database_now(), budget=timedelta(0))
    with another_session(autocommit=True) as session:
        with pytest.raises(psycopg.errors.QueryCanceled), interrupted_by(run, session):
            session.execute("SELECT pg_sleep(30)")
        assert session.execute("SELECT 1").fetchone() == (1,)


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_planning_goes_on_beside_it(slow: None) -> None:
    load_merchant({"GEBZE": {}}, {("CHAIR", "GEBZE"): 50}, a_scenario({"mode": "single"}))
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in range(1, 21)))
    store_rows()
    kill_rows()
    ended = threading.Event()

    def vacuum() -> None:
        with connection():
            maintain(Run(database_now(), budget=timedelta(seconds=20)), ["stock_movements"])
        ended.set()

    vacuuming = threading.Thread(target=vacuum)
    vacuuming.start()
    try:
        until(lambda: rows("SELECT FROM pg_stat_progress_vacuum WHERE relid = 'stock_movements'::regclass"))

        assert plan_waiting_orders(a_run())["orders"] == 20
        assert not ended.is_set(), "the VACUUM was over before anything was planned"
    finally:
        stopping.set()
        vacuuming.join()
        stopping.clear()


def test_the_task_does_the_tables_of_the_variable_and_measures_ours(configure) -> None:
    configure(DB_MAINTENANCE_TABLES="stock, packages,stock")

    found = tasks.db_maintenance.function(a_run())

    assert [table["name"] for table in found["tables"]] == ["stock", "packages"]
    measured = {row[0] for row in rows("SELECT name FROM table_sizes")}
    assert {"orders", "audit_events", "table_sizes"} <= measured


def test_every_default_table_is_one() -> None:
    names = settings.Settings.model_fields["db_maintenance_tables"].default.split(",")

    found = maintain(a_run(), names)

    assert (found["vacuumed"], found["skipped"]) == (len(names), 0)


def test_growth_is_told_a_day_once_there_is_something_to_compare_with() -> None:
    now = database_now()
    known = {each.name: each for each in growth(now)}
    assert known["stock_movements"].bytes_a_day is None
    measure(now - timedelta(days=20))
    measure(now - timedelta(days=2))
    execute("UPDATE table_sizes SET rows = 0, bytes = bytes - 2048")
    store_rows()
    rows("SELECT pg_stat_force_next_flush()")
    execute("ANALYZE stock_movements")

    found = {each.name: each for each in growth(now)}["stock_movements"]

    assert found.rows == ROWS
    # Of the last eight days only: the older measurement would make it a hundred a day.
    assert found.rows_a_day == ROWS // 2
    assert found.bytes_a_day is not None
    assert found.bytes_a_day > 0
