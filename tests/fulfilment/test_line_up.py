"""The more urgent order gets what several planners' batches want, whoever commits first."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

import settings
from oms_workers.database import connection, connection_parameters, execute, rows
from oms_workers.fulfilment import batches, first_planning, line_up, replanning
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, out_of_stock, plan_all, replan, run_planners, set_stock
from tests.orders.samples import an_order, store_orders

STORE_ORDERS = """
    INSERT INTO orders
        (omnitron_id, number, status, state, next_plan_at, priority, placed_at, received_at, facts, payload)
    SELECT n, n, '400', 'waiting', now(), n %% 7, now() - n * interval '1 s', now(), '{}', '{}'
    FROM generate_series(1, %s) AS n
"""

STORE_LINES = """
    INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
    SELECT id, id, %s, 1, '400' FROM orders
"""

#: The most urgent first.
IN_ORDER = "ORDER BY priority DESC, promised_at, placed_at, orders.id"


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def store(orders: int, *skus: str) -> None:
    execute(STORE_ORDERS, (orders,))
    for number, sku in enumerate(skus):
        execute(STORE_LINES.replace("SELECT id, id", f"SELECT id, id * 10 + {number}"), (sku,))


def served() -> list[int]:
    """The places in the order of urgency of the orders that got something, from 0 on."""
    found = rows(
        f"""
        SELECT place FROM (
            SELECT row_number() OVER ({IN_ORDER}) - 1 AS place, EXISTS (
                SELECT FROM packages WHERE order_id = orders.id AND packages.state = 100
            ) AS is_served
            FROM orders
        ) AS placed
        WHERE is_served ORDER BY place
        """
    )
    return [order.place for order in found]


def other_session() -> psycopg.Connection[Any]:
    return psycopg.connect(autocommit=True, **connection_parameters(settings.current()))


@contextmanager
def claimed_by_another_planner(first: int, last: int) -> Iterator[None]:
    """Orders, counted by their urgency, that another planner has claimed and not committed yet."""
    with other_session() as other, other.transaction():
        other.execute(
            f"""
            SELECT FROM orders WHERE id IN (
                SELECT id FROM orders {IN_ORDER} OFFSET %s LIMIT %s
            ) FOR NO KEY UPDATE
            """,
            (first, last - first),
        )
        yield


@pytest.mark.parametrize("batch", [500, 60])
def test_of_3000_orders_the_400_most_urgent_get_the_400_units_from_four_planners(batch: int) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 250, ("CHAIR", "IZMIR"): 150}, a_scenario({"mode": "single"}))
    store(3_000, "CHAIR")

    run_planners("plan", processes=4, batch=batch)

    assert served() == [*range(400)]
    assert rows("SELECT state, count(*) FROM orders GROUP BY state") == [("planned", 3_000)]
    assert_sound()


def test_the_first_to_commit_leaves_the_stock_to_those_ahead() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 4}, a_scenario({}))
    store(6, "CHAIR")

    with claimed_by_another_planner(0, 3):
        plan_all()

    assert served() == [3]
    plan_all()
    assert served() == [0, 1, 2, 3]


def test_orders_that_are_claimed_by_turns_are_served_by_turns() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3}, a_scenario({}))
    store(6, "CHAIR")

    with other_session() as other, other.transaction():
        other.execute(
            f"SELECT FROM orders WHERE id IN (SELECT id FROM orders {IN_ORDER} OFFSET 1 LIMIT 1) FOR UPDATE"
        )
        plan_all()

    assert served() == [0, 2]
    plan_all()
    assert served() == [0, 1, 2]


def test_a_location_counts_where_there_is_enough_elsewhere() -> None:
    """What goes before takes the last lamp from where the chair is, so that the two come together."""
    load_merchant(
        PLACES,
        {("CHAIR", "GEBZE"): 1, ("LAMP", "GEBZE"): 1, ("LAMP", "IZMIR"): 90},
        a_scenario({"mode": "single", "ranking": ["priority"]}),
    )
    store(2, "LAMP")
    execute(
        f"""
        INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
        SELECT id, 77, 'CHAIR', 1, '400' FROM orders {IN_ORDER} LIMIT 1
        """
    )

    with claimed_by_another_planner(0, 1):
        plan_all()

    assert rows("SELECT location_id FROM packages") == [(2,)]


def test_the_quota_of_a_location_is_left_to_those_ahead_too() -> None:
    places = {"GEBZE": {"quota": 2}, "IZMIR": {"priority": 1}}
    load_merchant(
        places, {("CHAIR", "GEBZE"): 99, ("CHAIR", "IZMIR"): 99}, a_scenario({"ranking": ["priority"]})
    )
    store(4, "CHAIR")

    with claimed_by_another_planner(0, 1):
        plan_all()

    assert rows("SELECT location_id FROM packages ORDER BY id") == [(1,), (2,), (2,)]


def test_of_what_is_plentiful_nobody_looks_at_the_plans_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 6}, a_scenario({}))
    store(6, "CHAIR")
    looked: list[Any] = []
    monkeypatch.setattr(line_up, "_anticipate", lambda *arguments: looked.append(arguments))

    with claimed_by_another_planner(0, 3):
        plan_all()

    assert looked == []
    assert served() == [3, 4, 5]


def test_an_order_ahead_that_cannot_be_planned_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, a_scenario({}))
    store(3, "CHAIR")
    (first,) = rows(f"SELECT id FROM orders {IN_ORDER} LIMIT 1")
    real = line_up.Planner.plan

    def plan(self: Any, order: Any) -> Any:
        if order.id == first.id:
            raise ZeroDivisionError("a planner's bug")
        return real(self, order)

    monkeypatch.setattr(line_up.Planner, "plan", plan)
    with claimed_by_another_planner(0, 1):
        plan_all()

    assert served() == [1, 2]


def test_what_is_ahead_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, a_scenario({}))
    store(2, "CHAIR")
    monkeypatch.setattr(line_up, "AHEAD_SECONDS", -1)

    with claimed_by_another_planner(0, 1):
        plan_all()

    assert served() == [1]


def test_an_order_that_has_not_come_due_takes_nothing_in_advance() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, a_scenario({}))
    store(2, "CHAIR")
    execute(
        f"""
        UPDATE orders SET next_plan_at = now() + interval '1 hour'
        WHERE id = (SELECT id FROM orders {IN_ORDER} LIMIT 1)
        """
    )

    plan_all()

    assert served() == [1]


def test_stock_that_was_committed_before_it_was_read_is_not_taken_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order ahead is planned by its own planner between our look at the queue and at the stock."""
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, a_scenario({}))
    store(2, "CHAIR")
    monkeypatch.setattr(first_planning, "BATCH", 1)
    real = line_up.read_planner_input
    other = other_session()
    other.execute("BEGIN")
    other.execute(f"SELECT FROM orders WHERE id = (SELECT id FROM orders {IN_ORDER} LIMIT 1) FOR UPDATE")

    def read(skus: Any) -> Any:
        if not other.closed:
            other.execute("ROLLBACK")
            other.close()

            def elsewhere() -> None:
                with connection():
                    plan_all()

            with ThreadPoolExecutor(1) as pool:
                pool.submit(elsewhere).result(30)
        return real(skus)

    monkeypatch.setattr(line_up, "read_planner_input", read)
    monkeypatch.setattr(batches, "read_planner_input", read)
    plan_all()

    assert served() == [0, 1]
    assert_sound()


def test_packages_that_others_plan_again_go_first_too(monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_stock(1, 2, 3, 4)
    set_stock("CHAIR", "IZMIR", 2)
    monkeypatch.setattr(replanning, "BATCH", 2)

    with other_session() as other, other.transaction():
        # The oldest of four orders that are alike.
        other.execute("SELECT FROM orders WHERE id = 1 FOR UPDATE")
        assert replan()["replanned"] == 1

    assert rows("SELECT order_id FROM packages WHERE state = 100") == [(2,)]
    assert replan()["replanned"] == 1
    assert rows("SELECT order_id FROM packages WHERE state = 100 ORDER BY 1") == [(1,), (2,)]


def test_what_a_batch_did_not_come_to_goes_before_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_stock(1, 2, 3, 4)
    set_stock("CHAIR", "IZMIR", 2)
    monkeypatch.setattr(replanning, "BATCH", 2)
    monkeypatch.setattr(batches, "PLANNING_SECONDS", -1.0)

    assert replan()["replanned"] == 2

    assert rows("SELECT order_id FROM packages WHERE state = 100 ORDER BY 1") == [(1,), (2,)]


def test_a_batch_far_behind_competes_with_the_most_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    monkeypatch.setattr(batches, "MOST_AHEAD", 1)

    with other_session() as other, other.transaction():
        other.execute("SELECT FROM orders WHERE id < 3 FOR UPDATE")
        plan_all()

    assert rows("SELECT order_id, state FROM packages") == [(3, 920)]


@pytest.mark.soak
def test_scarce_skus_are_given_out_as_one_planner_would_give_them() -> None:
    """Six processes, orders of several lines, locations with a unit or two of each sku."""
    skus = [f"SKU-{number}" for number in range(9)]
    places = {f"PLACE-{number}": {"priority": number % 3} for number in range(8)}
    stock = {(sku, place): 1 + hash_of(sku, place) % 9 for sku in skus for place in places}
    load_merchant(
        places, stock, a_scenario({"mode": "single", "ranking": ["priority"]}, {"ranking": ["priority"]})
    )
    results = []
    for processes in (1, 6):
        execute(
            """
            TRUNCATE order_execution_plans, packages, package_items, reservations,
                audit_events, orders, order_items RESTART IDENTITY CASCADE
            """
        )
        execute("UPDATE stock SET reserved = 0")
        execute("DELETE FROM stock_movements WHERE kind = 'reserved'")
        execute(STORE_ORDERS, (1_500,))
        execute(
            """
            INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
            SELECT id, id * 10 + line, 'SKU-' || (id * 7 + line * line * 3) %% %s, 1, '400'
            FROM orders, generate_series(0, 2) AS line
            """,
            (len(skus),),
        )
        run_planners("plan", processes=processes, batch=100)
        results.append(
            rows(
                """
                SELECT order_id, location_id, packages.state, array_agg(sku ORDER BY sku) AS skus
                FROM packages JOIN package_items ON package_id = packages.id
                GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
                """
            )
        )
        assert_sound()

    assert results[0] == results[1]


def hash_of(*words: str) -> int:
    """The same in every process."""
    return sum(ord(letter) * place for place, letter in enumerate("".join(words), start=1))
