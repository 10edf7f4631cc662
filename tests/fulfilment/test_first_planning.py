"""First planning on a real database: what it claims, what it writes, and what it does when it is hindered."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

import settings
from oms_workers.broker import stopping
from oms_workers.database import connection_parameters, database_now, execute, rows
from oms_workers.fulfilment import batches, first_planning, planner_input
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.orders.samples import an_order, store_orders

GREEDY = a_scenario({"ranking": ["priority"]})
PLACES: dict[str, dict[str, Any]] = {"GEBZE": {"priority": 1}, "IZMIR": {"priority": 2}}


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def plan_all(**fields: Any) -> dict[str, int]:
    return plan_waiting_orders(Run(database_now(), budget=timedelta(minutes=1)))


def states() -> dict[str, str]:
    return {order.number: order.state for order in rows("SELECT number, state FROM orders")}


def packages() -> list[tuple[Any, ...]]:
    """Each package: order's number, location, state, skus."""
    return [
        tuple(row)
        for row in rows(
            """
            SELECT orders.number, code, packages.state,
                   (SELECT string_agg(sku || ' ' || quantity, ', ' ORDER BY id)
                    FROM package_items WHERE package_id = packages.id)
            FROM packages
            JOIN orders ON orders.id = packages.order_id
            JOIN locations ON locations.id = packages.location_id
            ORDER BY packages.id
            """
        )
    ]


def test_orders_become_packages_with_stock_reserved() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3, ("LAMP", "IZMIR"): 1}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "LAMP", "CHAIR")))

    counts = plan_all()

    assert counts == {"orders": 1, "packages": 2, "out_of_stock": 0}
    assert packages() == [("7", "GEBZE", 100, "CHAIR 1, CHAIR 1"), ("7", "IZMIR", 100, "LAMP 1")]
    assert rows("SELECT sku, reserved FROM stock ORDER BY sku") == [("CHAIR", 2), ("LAMP", 1)]
    assert rows(
        "SELECT sku, quantity, kind, reason FROM stock_movements WHERE kind = 'reserved' ORDER BY id"
    ) == [
        ("CHAIR", 1, "reserved", first_planning.ACTOR),
        ("CHAIR", 1, "reserved", first_planning.ACTOR),
        ("LAMP", 1, "reserved", first_planning.ACTOR),
    ]
    events = rows("SELECT object_type, action FROM audit_events ORDER BY id")
    assert [tuple(event) for event in events] == [
        ("order", "received"),
        ("order", "planned"),
        ("plan", "created"),
        ("package", "created"),
        ("package", "created"),
    ]
    assert_sound()


def test_what_no_rule_places_waits_out_of_stock_at_the_default_location() -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 1}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR")))

    assert plan_all() == {"orders": 1, "packages": 1, "out_of_stock": 1}

    assert packages() == [("7", "IZMIR", 100, "CHAIR 1"), ("7", "GEBZE", 920, "CHAIR 1")]
    assert states() == {"7": "planned"}
    assert_sound()


def test_safety_stock_is_never_promised() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3}, GREEDY)
    execute("UPDATE stock SET safety = 2")
    store_orders(an_order(7, skus=("CHAIR", "CHAIR")))

    plan_all()

    assert packages() == [("7", "GEBZE", 100, "CHAIR 1"), ("7", "GEBZE", 920, "CHAIR 1")]


def test_late_stock_goes_to_the_highest_priority_then_the_earliest_promise_then_the_oldest() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3}, GREEDY)
    store_orders(
        an_order(1, date_placed="2026-11-03"),
        an_order(2, date_placed="2026-11-02"),
        an_order(3, date_placed="2026-11-05"),
        an_order(4, date_placed="2026-11-06"),
        an_order(5, date_placed="2026-11-04"),
    )
    execute("UPDATE order_items SET sku = 'CHAIR'")
    execute("UPDATE orders SET priority = 5 WHERE number = '4'")
    execute("UPDATE orders SET promised_at = '2026-12-01' WHERE number = '3'")

    plan_all()

    assert [(number, state) for number, _, state, _ in packages()] == [
        ("4", 100),
        ("3", 100),
        ("2", 100),
        ("1", 920),
        ("5", 920),
    ]


def test_lines_that_are_cancelled_are_not_planned_and_an_order_without_others_is_settled() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR")), an_order(8, skus=("CHAIR",)))
    execute("UPDATE order_items SET status = '100' WHERE omnitron_id IN (701, 801)")

    plan_all()

    assert packages() == [("7", "GEBZE", 100, "CHAIR 1")]
    assert states() == {"7": "planned", "8": "settled"}


def test_orders_are_planned_once_however_often_it_runs() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))

    assert [plan_all()["orders"], plan_all()["orders"]] == [1, 0]

    assert len(packages()) == 1
    assert_sound()


def test_held_planned_and_settled_orders_are_left_alone() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    execute("UPDATE orders SET state = (ARRAY['held', 'planned', 'settled'])[id]")

    assert plan_all()["orders"] == 0


def test_batches_follow_one_another_until_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_planning, "BATCH", 3)
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 100}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in range(1, 12)))

    assert plan_all()["orders"] == 11
    assert_sound()


def test_told_to_stop_it_ends_after_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_planning, "BATCH", 3)
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 100}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in range(1, 12)))
    stopping.set()
    try:
        counts = plan_all()
    finally:
        stopping.clear()

    assert counts["orders"] == 3
    assert_sound()


@pytest.mark.parametrize("locations", ["none at all", "none of them the default"])
def test_without_a_default_location_orders_wait_and_one_line_says_why(
    locations: str, caplog: pytest.LogCaptureFixture
) -> None:
    if locations == "none of them the default":
        load_merchant(PLACES, {("CHAIR", "GEBZE"): 100}, GREEDY)
        execute("UPDATE locations SET is_default = false")
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (7, 8)))

    counts = plan_all()

    assert counts == {"orders": 0, "packages": 0, "out_of_stock": 0, "waiting_for_default_location": 2}
    assert {*states().values()} == {"waiting"}
    (said,) = caplog.messages
    assert said.startswith("2 wait for oms.fulfilment.tasks.fulfil_waiting_orders. No location is marked")
    assert caplog.records[0].exc_info is None


def test_without_a_default_location_nobody_is_asked_for_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_planning, "BATCH", 1)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (7, 8)))

    assert not first_planning.wants_help()

    load_merchant(PLACES, {("CHAIR", "GEBZE"): 100}, GREEDY)
    assert first_planning.wants_help()


def test_an_order_that_makes_the_planner_fail_is_put_off_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    good = planner_input.Planner.plan

    def plan(self: Any, order: Any) -> Any:
        if order.id == 2:
            raise ZeroDivisionError("a planner's bug")
        return good(self, order)

    monkeypatch.setattr(planner_input.Planner, "plan", plan)

    counts = plan_all()

    assert counts == {"orders": 2, "packages": 2, "out_of_stock": 0, "failed": 1}
    assert states() == {"1": "planned", "2": "waiting", "3": "planned"}
    (put_off,) = rows("SELECT next_plan_at > now() AS later FROM orders WHERE id = 2")
    assert put_off.later
    assert rows("SELECT content->>'problem' AS p FROM audit_events WHERE action = 'planning_failed'") == [
        ("ZeroDivisionError: a planner's bug",)
    ]


def test_an_order_whose_plan_cannot_be_written_is_put_off_and_stops_no_other() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    # Its first package's number is taken.
    execute(
        """
        INSERT INTO order_execution_plans (order_id, state, attempt, context, created_at)
        VALUES (1, 'cancelled', 99, '{}', now())
        """
    )
    execute(
        """
        INSERT INTO packages (number, order_id, plan_id, location_id, state, created_at)
        VALUES ('P2-1', 1, 1, 1, 1000, now())
        """
    )

    counts = plan_all()

    assert counts["orders"] == 2
    assert states() == {"1": "planned", "2": "waiting", "3": "planned"}
    assert rows("SELECT object_id FROM audit_events WHERE action = 'planning_failed'") == [(2,)]
    assert_sound()


def test_the_order_that_cannot_be_written_is_put_off_and_not_one_that_somebody_holds() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    execute(
        """
        WITH plan AS (
            INSERT INTO order_execution_plans (order_id, state, attempt, context, created_at)
            VALUES (1, 'cancelled', 99, '{}', now())
            RETURNING id
        )
        INSERT INTO packages (number, order_id, plan_id, location_id, state, created_at)
        SELECT 'P2-1', 1, id, 1, 1000, now() FROM plan
        """
    )

    with other_session() as other, other.transaction():
        other.execute("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
        counts = plan_all()

    assert (counts["orders"], counts["failed"]) == (1, 1)
    assert states() == {"1": "waiting", "2": "waiting", "3": "planned"}
    assert rows("SELECT id FROM orders WHERE next_plan_at > now()") == [(2,)]


def test_a_batch_that_takes_long_to_plan_is_committed_as_far_as_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in range(1, 6)))
    monkeypatch.setattr(batches, "PLANNING_SECONDS", 0)
    committed: list[int] = []
    real = batches.commit_plans

    def commit(plans: Any, *arguments: Any, **options: Any) -> Any:
        committed.append(len(plans))
        return real(plans, *arguments, **options)

    monkeypatch.setattr(batches, "commit_plans", commit)

    counts = plan_all()

    assert counts["orders"] == 5
    assert committed == [1] * 5
    assert_sound()


def test_the_priority_that_the_hub_gives_decides_over_scarce_stock() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, GREEDY)
    store_orders(
        an_order(1, skus=("CHAIR",), date_placed="2026-11-01"),
        an_order(2, skus=("CHAIR",), date_placed="2026-11-02", extra_field={"priority": 3}),
    )

    plan_all()

    assert [(number, state) for number, _, state, _ in packages()] == [("2", 100), ("1", 920)]


def test_stock_that_others_took_meanwhile_is_planned_again_from_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("CHAIR", "IZMIR"): 1}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    real = planner_input.available
    looks = 0

    def stale(skus: Any) -> Any:
        nonlocal looks
        looks += 1
        found = real(skus)
        if looks == 1:
            with other_session() as other:
                other.execute("UPDATE stock SET on_hand = 0 WHERE location_id = 1")
        return found

    monkeypatch.setattr(planner_input, "available", stale)

    counts = plan_all()

    assert looks == 2
    assert counts["orders"] == 1
    assert packages() == [("7", "IZMIR", 100, "CHAIR 1")]


def test_an_order_that_always_loses_waits_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 0}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    monkeypatch.setattr(planner_input, "available", lambda skus: {"CHAIR": {1: 5}})

    counts = plan_all()

    assert counts["orders"] == 0
    assert states() == {"7": "waiting"}
    (order,) = rows("SELECT next_plan_at - now() AS pause FROM orders")
    assert timedelta(seconds=50) < order.pause <= first_planning.LOSER_PAUSE
    assert_sound()


def other_session() -> psycopg.Connection[Any]:
    return psycopg.connect(autocommit=True, **connection_parameters(settings.current()))


def test_orders_that_another_planner_holds_are_skipped() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))

    with other_session() as other, other.transaction():
        other.execute("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
        assert plan_all()["orders"] == 1

    assert plan_all()["orders"] == 1


def test_an_order_planned_before_gets_the_next_attempt_and_new_numbers() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    execute("UPDATE package_items SET state = 1000")
    execute("UPDATE packages SET state = 1000")
    execute("UPDATE orders SET state = 'waiting'")

    plan_all()

    assert rows("SELECT number FROM packages ORDER BY id") == [("P1-1",), ("P1-2",)]
    assert rows("SELECT attempt FROM order_execution_plans ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(("waiting_orders", "more"), [(2, False), (3, False), (4, True)])
def test_help_is_wanted_only_for_more_than_a_batch(
    monkeypatch: pytest.MonkeyPatch, waiting_orders: int, more: bool
) -> None:
    monkeypatch.setattr(first_planning, "BATCH", 3)
    store_orders(*(an_order(key) for key in range(1, waiting_orders + 1)))

    assert first_planning.more_than_a_batch() is more
