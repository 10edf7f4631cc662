"""The loop of planning: what one bad order, a lock or a lost transaction may not do to the others."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from peewee import IntegrityError, OperationalError

import settings
from oms_workers import sets
from oms_workers.audit_events.door import Door
from oms_workers.database import (
    connection,
    connection_parameters,
    database_now,
    execute,
    replace_connection,
    rows,
    transaction,
)
from oms_workers.fulfilment import batches, replanning
from oms_workers.fulfilment.batches import Progress
from oms_workers.fulfilment.first_planning import WaitingOrders, plan_waiting_orders
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, a_run, out_of_stock, replan, set_stock
from tests.orders.samples import an_order, store_orders


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


@contextmanager
def held_by_another_session(statement: str, *, seconds: float = 20) -> Iterator[threading.Event]:
    """Another session's transaction with this statement, until the block ends, or for so many seconds."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with connection(), transaction():
            execute(statement)
            held.set()
            done.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield done
    finally:
        done.set()
        thread.join()


@contextmanager
def impatient_for_locks() -> Iterator[None]:
    execute("SET lock_timeout = '300ms'")
    try:
        yield
    finally:
        execute("RESET lock_timeout")


def spoil(package_id: int) -> None:
    """More units of one line than a number holds: the package cannot be read to be planned."""
    execute("UPDATE package_items SET quantity = 2000000000 WHERE package_id = %s", (package_id,))
    execute(
        """
        INSERT INTO package_items (package_id, order_item_id, sku, quantity, state)
        SELECT package_id, order_item_id, sku, quantity, state FROM package_items WHERE package_id = %s
        """,
        (package_id,),
    )


def test_a_search_that_meets_a_lock_is_no_end_of_the_work() -> None:
    out_of_stock(7)
    set_stock("CHAIR", "IZMIR", 1)

    with (
        impatient_for_locks(),
        held_by_another_session("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE"),
        pytest.raises(OperationalError, match="lock timeout"),
    ):
        replan()

    assert replan()["replanned"] == 1


def test_a_package_that_cannot_be_read_stops_no_other() -> None:
    out_of_stock(1, 2, 3)
    spoil(1)
    set_stock("CHAIR", "IZMIR", 5)
    run = Run(database_now(), budget=timedelta(seconds=20))

    counts = replan(run=run)

    assert run.stopped_by is None
    assert (counts["replanned"], counts["failed"]) == (2, 1)


def test_what_cannot_be_read_is_what_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_stock(1, 2, 3)
    spoil(3)
    set_stock("CHAIR", "IZMIR", 5)
    monkeypatch.setattr(replanning, "BATCH", 2)

    replan(run=Run(database_now(), budget=timedelta(seconds=20)))

    failed = rows("SELECT object_id FROM audit_events WHERE action = 'planning_failed'")
    assert [event.object_id for event in failed] == [3]


def test_packages_that_others_have_locked_make_no_batch_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_stock(*range(1, 41))
    set_stock("CHAIR", "IZMIR", 40)
    real, written = batches.commit_plans, []

    def commit(plans: Any, *arguments: Any) -> Any:
        written.append(len(plans))
        if any(plan.order.id == 40 for plan in plans):
            raise IntegrityError("it cannot be written")
        return real(plans, *arguments)

    monkeypatch.setattr(batches, "commit_plans", commit)
    with held_by_another_session("SELECT FROM orders WHERE id <= 38 FOR UPDATE"):
        counts = replan()

    assert written == [2, 1, 1]
    assert (counts["replanned"], counts["failed"]) == (1, 1)


def test_an_order_that_is_locked_when_it_is_put_off_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(an_order(1, skus=("CHAIR",)), an_order(2, skus=("CHAIR",)))
    real_commit, real_put_off, tries = batches.commit_plans, WaitingOrders.put_off, []

    def commit(plans: Any, *arguments: Any) -> Any:
        if any(plan.order.id == 1 for plan in plans):
            raise IntegrityError("it cannot be written")
        return real_commit(plans, *arguments)

    def put_off(self: WaitingOrders, door: Door, key: batches.Key, problem: str) -> None:
        tries.append(key)
        if len(tries) <= 2:
            error = OperationalError("canceling statement due to lock timeout")
            error.orig = type("LockNotAvailable", (Exception,), {"sqlstate": "55P03"})()
            raise error
        real_put_off(self, door, key, problem)

    monkeypatch.setattr(batches, "commit_plans", commit)
    monkeypatch.setattr(WaitingOrders, "put_off", put_off)
    counts = plan_waiting_orders(a_run())

    assert counts["orders"] == 1
    assert rows("SELECT id FROM orders WHERE next_plan_at > now()") == [(1,)]


def test_a_transaction_that_is_repeated_counts_its_losses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(an_order(1, skus=("CHAIR",)))
    real, closed = Door._close, []

    def close(self: Door) -> None:
        closed.append(1)
        if len(closed) <= 4:
            error = OperationalError("deadlock detected")
            error.orig = type("DeadlockDetected", (Exception,), {"sqlstate": "40P01"})()
            raise error
        real(self)

    monkeypatch.setattr(batches, "commit_plans", lambda plans, *_: [*plans])
    monkeypatch.setattr(Door, "_close", close)
    progress = Progress(Counter())

    batches._plan_batch(WaitingOrders(), progress)

    assert progress.losses == {(1, None): 1}


@pytest.mark.parametrize("state", ["54000", "57014"])
def test_a_batch_that_is_too_much_for_postgresql_is_written_order_by_order(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    real = batches.commit_plans

    def commit(plans: Any, *arguments: Any) -> Any:
        if len(plans) > 1:
            error = OperationalError("too much")
            error.orig = type("TooMuch", (Exception,), {"sqlstate": state})()
            raise error
        return real(plans, *arguments)

    monkeypatch.setattr(batches, "commit_plans", commit)

    assert plan_waiting_orders(a_run())["orders"] == 3


def test_documents_that_are_long_together_do_not_travel_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    monkeypatch.setattr(sets, "MOST_CHARACTERS", 100)

    assert plan_waiting_orders(a_run())["orders"] == 3
    found = rows("SELECT context ->> 'scenario' AS scenario FROM order_execution_plans")
    assert [plan.scenario for plan in found] == ["a scenario"] * 3


def lose_the_connection_while_order_2_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    real = batches.Planner.plan
    (session,) = rows("SELECT pg_backend_pid() AS pid")

    def plan(self: Any, order: Any) -> Any:
        if order.id == 2:
            with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as other:
                other.execute("SELECT pg_terminate_backend(%s, 20000)", (session.pid,))
        return real(self, order)

    monkeypatch.setattr(batches.Planner, "plan", plan)


def test_an_order_that_costs_the_batch_its_connection_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    monkeypatch.setattr(batches, "PLANNING_SECONDS", 0)
    lose_the_connection_while_order_2_is_planned(monkeypatch)

    counts = plan_waiting_orders(a_run())

    assert (counts["orders"], counts["failed"]) == (2, 1)
    assert rows("SELECT id FROM orders WHERE next_plan_at > now()") == [(2,)]


def test_an_order_is_not_put_off_for_a_connection_that_it_did_not_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    lose_the_connection_while_order_2_is_planned(monkeypatch)

    with pytest.raises(OperationalError):
        plan_waiting_orders(a_run())

    replace_connection()
    assert rows("SELECT id FROM orders WHERE next_plan_at > now()") == []


@pytest.mark.parametrize(("most_cells", "sizes"), [(6, [2, 2, 1]), (100, [5]), (1, [1] * 5)])
def test_a_batch_has_as_many_orders_as_their_stock_at_all_locations_has_room_for(
    monkeypatch: pytest.MonkeyPatch, most_cells: int, sizes: list[int]
) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in range(1, 6)))
    monkeypatch.setattr(batches, "MOST_CELLS", most_cells)
    real, written = batches.commit_plans, []

    def commit(plans: Any, *arguments: Any) -> Any:
        written.append(len(plans))
        return real(plans, *arguments)

    monkeypatch.setattr(batches, "commit_plans", commit)

    assert plan_waiting_orders(a_run())["orders"] == 5
    assert written == sizes
