"""Limits of tables: what goes and what stays at each boundary, in batches; and every table has one."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import settings
from oms_workers import retention
from oms_workers.audit_events.archive import ARCHIVE, EVENTS
from oms_workers.base.sizes import SIZES
from oms_workers.database import Table, connection_parameters, execute, rows
from oms_workers.fulfilment.retention import TRACES
from oms_workers.orders.retention import REJECTED_ORDERS
from oms_workers.packages.retention import EXCLUSIONS
from oms_workers.reservations.retention import MOVEMENTS, RESERVATIONS
from oms_workers.retention import (
    DoubleRetentionError,
    Retention,
    is_behind,
    register_retentions,
    registered_kept,
    registered_retentions,
    registered_tables,
    remove_in_batches,
    remove_old_rows,
)
from oms_workers.scheduling import table
from oms_workers.scheduling.operation import TICK
from oms_workers.scheduling.retention import RUNS
from tests.orders.samples import an_order, store_orders

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def never() -> bool:
    return False


def an_order_in_a_plan() -> None:
    """What rows of other tables refer to."""
    store_orders(an_order(7))
    execute("INSERT INTO locations (code, name, type) VALUES ('GEBZE', 'Gebze', 'warehouse')")
    execute(
        """
        INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
        SELECT 1, n, 'LAMP', 1, '400' FROM generate_series(100, 130) AS n
        """
    )
    execute("TRUNCATE audit_events")


def a_rejected_order(key: int, at: datetime) -> None:
    execute(
        """
        INSERT INTO rejected_orders (omnitron_id, reason, payload, first_seen_at, last_seen_at)
        VALUES (%s, 'no items', '{}', %s, %s)
        """,
        (str(key), at - timedelta(days=300), at),
    )


def a_reservation(key: int, at: datetime | None) -> None:
    execute(
        """
        INSERT INTO reservations (id, sku, location_id, quantity, kind, created_at, released_at)
        VALUES (%s, 'LAMP', 1, 1, 'discrepancy', '2020-01-01', %s)
        """,
        (key, at),
    )


def an_exclusion(key: int, at: datetime) -> None:
    execute(
        "INSERT INTO excluded_locations VALUES ((SELECT min(id) FROM order_items) + %s, 1, %s)", (key, at)
    )


def an_event(key: int, at: datetime, table: str = "audit_events") -> None:
    more = ", now()" if table == "archived_audit_events" else ""
    execute(
        f"INSERT INTO {table} VALUES (%s, gen_random_uuid(), %s, 'a', 'order', 1, 'done', '{{}}'{more})",
        (key, at),
    )


def an_archived_event(key: int, at: datetime) -> None:
    an_event(key, at, "archived_audit_events")


def a_size(key: int, at: datetime) -> None:
    execute("INSERT INTO table_sizes VALUES (%s, 'orders', %s, 1, 1)", (key, at))


def a_plan(key: int, at: datetime) -> None:
    execute(
        """
        INSERT INTO order_execution_plans (id, order_id, state, attempt, context, created_at)
        VALUES (%(key)s, 1, 'completed', %(key)s, '{"rules": [1], "packages": [2]}', %(at)s)
        """,
        {"key": key, "at": at},
    )


def a_movement(key: int, at: datetime) -> None:
    execute(
        """
        INSERT INTO stock_movements (id, sku, location_id, quantity, kind, reason, at)
        VALUES (%s, 'LAMP', 1, 1, 'received', 'tests', %s)
        """,
        (key, at),
    )


def a_run(key: int, at: datetime) -> None:
    execute(
        """
        INSERT INTO scheduled_runs (id, task, slot, first_slot, state, trigger)
        VALUES (%(key)s, 'oms.tests.tasks.operation', %(at)s, %(at)s, 'succeeded', 'periodiq')
        """,
        {"key": key, "at": at},
    )


OF_EXCLUSIONS = "SELECT order_item_id - (SELECT min(id) FROM order_items) FROM excluded_locations"

#: How a row is made that the limit is about, and what tells that it is still there.
CLASSES: list[tuple[Retention, Callable[[int, datetime], None], str]] = [
    (REJECTED_ORDERS, a_rejected_order, "SELECT omnitron_id::int FROM rejected_orders"),
    (RESERVATIONS, a_reservation, "SELECT id FROM reservations"),
    (EXCLUSIONS, an_exclusion, OF_EXCLUSIONS),
    (EVENTS, an_event, "SELECT id FROM audit_events WHERE actor = 'a'"),
    (ARCHIVE, an_archived_event, "SELECT id FROM archived_audit_events"),
    (SIZES, a_size, "SELECT id FROM table_sizes"),
    (TRACES, a_plan, "SELECT id FROM order_execution_plans WHERE context ? 'rules'"),
    (MOVEMENTS, a_movement, "SELECT id FROM stock_movements WHERE summed_rows IS NULL"),
    (RUNS, a_run, "SELECT id FROM scheduled_runs"),
]

each_class = pytest.mark.parametrize(
    ("limit", "make", "left"), CLASSES, ids=[limit.table for limit, _, _ in CLASSES]
)


def kept(query: str) -> list[int]:
    return sorted(row[0] for row in rows(query))


@each_class
def test_what_is_older_goes_and_what_is_exactly_so_old_stays(
    db: None, limit: Retention, make: Callable[[int, datetime], None], left: str
) -> None:
    an_order_in_a_plan()
    boundary = NOW - limit.age
    for key, at in enumerate(
        (boundary - HOUR, boundary - timedelta(microseconds=1), boundary, boundary + HOUR)
    ):
        make(key + 1, at)

    assert remove_in_batches(limit, NOW, age=limit.age, should_stop=never) == 2
    assert kept(left) == [3, 4]
    assert remove_in_batches(limit, NOW, age=limit.age, should_stop=never) == 0


@each_class
def test_batches_are_bounded_and_the_next_run_goes_on(
    db: None, limit: Retention, make: Callable[[int, datetime], None], left: str
) -> None:
    an_order_in_a_plan()
    oldest = NOW - limit.age - timedelta(days=2)
    for key in range(1, 26):
        make(key, oldest + key * HOUR)
    make(26, NOW)

    assert remove_in_batches(limit, NOW, age=limit.age, should_stop=lambda: True, batch=10) == 10
    assert kept(left) == [*range(11, 27)]
    assert remove_in_batches(limit, NOW, age=limit.age, should_stop=never, batch=10) == 15
    assert kept(left) == [26]


@each_class
def test_of_more_rows_than_there_may_be_the_oldest_go(
    db: None,
    limit: Retention,
    make: Callable[[int, datetime], None],
    left: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However young they are, and however many there are of another kind."""
    monkeypatch.setattr(Retention, "most_rows", property(lambda limit: 4))
    an_order_in_a_plan()
    young = NOW - limit.age + HOUR
    for key in range(1, 11):
        make(key, young + key * HOUR)
    execute(f"ANALYZE {limit.table}")

    assert remove_in_batches(limit, NOW, age=limit.age, should_stop=never, batch=2) == 6
    assert kept(left) == [7, 8, 9, 10]


@each_class
def test_a_table_that_is_behind_is_told(
    db: None, limit: Retention, make: Callable[[int, datetime], None], left: str
) -> None:
    an_order_in_a_plan()
    make(1, NOW - limit.age - retention.GRACE)
    make(2, NOW - limit.age + HOUR)
    assert not is_behind(limit, NOW)

    make(3, NOW - limit.age - retention.GRACE - HOUR)
    assert is_behind(limit, NOW)


@each_class
def test_the_rows_that_go_are_found_by_an_index(
    db: None, limit: Retention, make: Callable[[int, datetime], None], left: str
) -> None:
    """Also in a table that has nothing else to find its oldest rows by."""
    query, parameters = retention.rows_before(limit, NOW - limit.age).order_by(limit.moment).limit(10).sql()
    execute("SET enable_seqscan = off")
    execute("SET enable_sort = off")
    try:
        plan = "\n".join(row[0] for row in rows(f"EXPLAIN {query}", parameters))
    finally:
        execute("RESET enable_seqscan")
        execute("RESET enable_sort")

    assert re.search(r"Index (Only )?Scan using", plan), plan
    assert "Sort" not in plan, plan


def test_a_live_reservation_and_a_standing_exclusion_never_go(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retention, "most_rows", property(lambda limit: 1))
    an_order_in_a_plan()
    a_reservation(1, None)
    a_reservation(2, NOW)
    a_reservation(3, NOW + HOUR)
    for key in range(3):
        an_exclusion(key, datetime.now(UTC) + timedelta(days=300 + key))
    for limit in (RESERVATIONS, EXCLUSIONS):
        execute(f"ANALYZE {limit.table}")
        remove_in_batches(limit, NOW, age=limit.age, should_stop=never)

    assert kept("SELECT id FROM reservations") == [1, 3]
    assert len(rows("SELECT FROM excluded_locations")) == 3


def test_a_plan_keeps_everything_but_its_trace(db: None) -> None:
    an_order_in_a_plan()
    a_plan(1, NOW - timedelta(days=900))

    remove_in_batches(TRACES, NOW, age=TRACES.age, should_stop=never)

    assert rows("SELECT context FROM order_execution_plans") == [({"packages": [2]},)]


def test_another_process_goes_on_with_the_rows_that_one_is_at(db: None) -> None:
    for key in range(1, 5):
        a_rejected_order(key, NOW - timedelta(days=900))
    with psycopg.connect(**connection_parameters(settings.current())) as other:
        other.execute("DELETE FROM rejected_orders WHERE omnitron_id IN ('1', '3')")

        assert remove_in_batches(REJECTED_ORDERS, NOW, age=REJECTED_ORDERS.age, should_stop=never) == 2
        other.rollback()

    assert kept("SELECT omnitron_id::int FROM rejected_orders") == [1, 3]


def test_one_table_that_fails_stops_no_other(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    an_order_in_a_plan()
    a_movement(1, NOW - timedelta(days=900))
    a_reservation(1, NOW - timedelta(days=900))
    real = retention.remove_batch

    def fail_for_movements(limit: Retention, *rest: Any) -> Any:
        if limit is MOVEMENTS:
            raise ArithmeticError
        return real(limit, *rest)

    monkeypatch.setattr(retention, "remove_batch", fail_for_movements)

    assert remove_old_rows(MOVEMENTS.task, NOW, should_stop=never) == {"reservations_deleted": 1}
    assert "Old rows of stock_movements cannot be summed up" in caplog.text


def test_a_limit_is_registered_once() -> None:
    with pytest.raises(DoubleRetentionError, match="stock_movements is registered twice"):
        register_retentions(MOVEMENTS)


def test_every_table_has_a_limit_or_a_reason_to_need_none(db: None) -> None:
    tables = {row[0] for row in rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}

    assert tables - {"schema_migration"} - {*registered_tables()} == set()
    assert all(each.why.endswith(".") for each in registered_kept())


def test_every_limit_is_seen_to_by_a_task_that_there_is() -> None:
    paths = {task.path for task in table.tasks()}

    for limit in registered_retentions():
        assert limit.task in paths | {TICK}, limit.table
        assert issubclass(limit.model, Table)
