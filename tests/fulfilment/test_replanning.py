"""Tasks 3, 4 and 5 on a real database: who is planned again, once, and to where."""

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import schedules  # noqa: F401 - registers the commands
import settings
from oms_workers.database import connection, connection_parameters, database_now, execute, rows, transaction
from oms_workers.fulfilment import replanning, shortfalls, transfer_sources, unplanned
from oms_workers.fulfilment.commands.registry import (
    Request,
    WrongStateError,
    circumstances_of,
    run_command,
)
from oms_workers.fulfilment.failed_attempts import KEPT_TRACES
from oms_workers.fulfilment.merchant import load_files
from oms_workers.fulfilment.models import UNPLANNED_STATES, PackageState
from oms_workers.fulfilment.overdue import cancel_overdue
from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.shortfalls import relieve_shortfalls
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.fulfilment.waiting import plan_waiting_orders
from oms_workers.reservations.discrepancies import Meaning, clear
from oms_workers.reservations.stock import NewReservation, lock, reserve
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, assert_books_balance, assert_sound, load_merchant
from tests.orders.samples import an_order, store_orders

PROJECT = Path(settings.__file__).parent
PLACES: dict[str, dict[str, Any]] = {
    "GEBZE": {"priority": 1},
    "IZMIR": {"priority": 2},
    "ANKARA": {"priority": 3},
}
GREEDY = a_scenario({"ranking": ["priority"]})
STOCKLESS = (PackageState.OUT_OF_STOCK, PackageState.DEFECTIVE_PRODUCT)


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def a_run(slot: datetime | None = None) -> Run:
    return Run(database_now(), budget=timedelta(minutes=1), slot=slot)


def plan_all() -> None:
    plan_waiting_orders(a_run())


def replan(
    states: Any = UNPLANNED_STATES, *, run: Run | None = None, max_attempts: int = 0
) -> dict[str, int]:
    return replan_packages(run or a_run(), states, actor="task", max_attempts=max_attempts)


def set_stock(sku: str, place: str, units: int) -> None:
    load_merchant({}, {(sku, place): units})


def packages() -> list[tuple[Any, ...]]:
    """Each package: number, location, state."""
    found = rows(
        """
        SELECT number, code, packages.state FROM packages
        JOIN locations ON locations.id = location_id
        ORDER BY packages.id
        """
    )
    return [tuple(package) for package in found]


def out_of_stock(*keys: int, sku: str = "CHAIR") -> None:
    """Orders whose packages wait for stock at the default location."""
    if not rows("SELECT id FROM locations"):
        load_merchant(PLACES, {}, GREEDY)
    store_orders(*(an_order(key, skus=(sku,)) for key in keys))
    plan_all()


def test_a_package_is_replaced_when_its_stock_has_come() -> None:
    out_of_stock(7)
    set_stock("CHAIR", "IZMIR", 1)

    counts = replan()

    assert counts == {"looked_at": 1, "replanned": 1, "packages": 1, "without_success": 0}
    assert packages() == [("P1-1", "GEBZE", 1000), ("P1-2", "IZMIR", 100)]
    assert rows("SELECT action FROM audit_events WHERE object_type = 'package' ORDER BY id") == [
        ("created",),
        ("created",),
        ("superseded",),
    ]
    assert rows("SELECT attempt, package_id FROM order_execution_plans ORDER BY id") == [(1, None), (2, 1)]
    assert_sound()


def test_without_stock_nothing_is_looked_at() -> None:
    out_of_stock(1, 2, 3)

    assert replan()["looked_at"] == 0
    assert rows("SELECT count(*) FROM order_execution_plans") == [(3,)]


@pytest.mark.parametrize("state", UNPLANNED_STATES, ids=lambda state: state.name)
def test_task_3_takes_all_four_states_and_task_4_two(state: PackageState) -> None:
    out_of_stock(7)
    execute("UPDATE packages SET state = %s", (state.value,))
    execute("UPDATE package_items SET state = %s", (state.value,))
    set_stock("CHAIR", "IZMIR", 1)

    by_task_4 = replan(STOCKLESS)["replanned"]
    by_task_3 = replan()["replanned"]

    assert (by_task_4, by_task_3) == ((1, 0) if state in STOCKLESS else (0, 1))


def test_tasks_3_and_4_due_in_the_same_second_replan_each_package_once() -> None:
    out_of_stock(*range(1, 301))
    for place in ("GEBZE", "IZMIR", "ANKARA"):
        set_stock("CHAIR", place, 75)

    ended = subprocess.run(
        [sys.executable, "-m", "tests.fulfilment.planners", "replan", "4", "20"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 0, ended.stderr
    assert rows("SELECT count(*) FROM packages WHERE state = 100") == [(225,)]
    assert rows("SELECT max(n) FROM (SELECT count(*) AS n FROM packages GROUP BY order_id) AS x") == [(2,)]
    assert rows("SELECT count(*) FROM packages WHERE replan_attempts > 0") == [(0,)]
    assert rows("SELECT sku, location_id FROM stock WHERE reserved <> on_hand") == []
    assert_sound()


def test_a_fruitless_attempt_counts_once_for_all_that_is_due_at_an_instant() -> None:
    unreachable = a_scenario({"filters": {"locations": ["GEBZE"]}})
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 9}, unreachable)
    out_of_stock(7)
    slot = database_now()

    counts = [replan(run=a_run(slot)), replan(STOCKLESS, run=a_run(slot)), replan(STOCKLESS)]

    assert [count["without_success"] for count in counts] == [1, 0, 1]
    assert rows("SELECT state, replan_attempts FROM packages") == [(920, 2)]
    assert rows("SELECT attempt, state FROM order_execution_plans ORDER BY id") == [
        (1, "completed"),
        (2, "cancelled"),
        (3, "cancelled"),
    ]


def test_a_rule_that_holds_ends_an_attempt_to_replan_and_leaves_the_package_as_it_is() -> None:
    load_merchant(PLACES, {}, GREEDY)
    out_of_stock(7)
    holding = {"filters": {"locations": ["GEBZE"]}, "outcome": "hold", "hold_reason": "look"}
    load_merchant({}, {("CHAIR", "IZMIR"): 1}, a_scenario(holding, {}))

    assert replan()["without_success"] == 1

    assert packages() == [("P1-1", "GEBZE", 920)]
    assert rows("SELECT state FROM orders") == [("planned",)]
    (attempt,) = rows("SELECT context FROM order_execution_plans WHERE state = 'cancelled'")
    assert attempt.context["hold_reason"] == "look"


CHANGES = {
    "more of it": lambda: set_stock("CHAIR", "IZMIR", 10),
    "another location": lambda: load_merchant({"ADANA": {"is_default": False}}, {}),
    "another rule": lambda: load_merchant({}, {}, ONLY_GEBZE),
    "a reservation that is released": lambda: run_command("P2-1", "CANCEL", actor="tests"),
    "a location with a quota": lambda: execute("UPDATE locations SET quota = 5 WHERE code = 'ANKARA'"),
    "an exclusion that ended": lambda: (
        execute("UPDATE packages SET fruitless_at = now() - interval '1 hour'"),
        execute("UPDATE excluded_locations SET until = now() - interval '1 minute'"),
    ),
    "much time": lambda: execute("UPDATE packages SET fruitless_at = now() - interval '7 hours'"),
}
ONLY_GEBZE = a_scenario({"filters": {"locations": ["GEBZE"]}}, conditions={"channel": ["web"]})


@pytest.mark.parametrize("change", CHANGES)
def test_what_bore_no_fruit_is_tried_again_only_when_something_has_changed(change: str) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 9}, ONLY_GEBZE)
    out_of_stock(1)
    store_orders(an_order(2, skus=("CHAIR",)))
    plan_all()
    execute("UPDATE packages SET state = 100, location_id = 2 WHERE number = 'P2-1'")
    execute("UPDATE package_items SET state = 100 WHERE package_id = 2")
    lock_and_reserve("CHAIR", 2)
    execute("INSERT INTO excluded_locations VALUES (1, 3, now() + interval '1 day')")
    long_ago("stock SET risen_at", "locations SET changed_at", "scenarios SET changed_at")

    assert replan()["without_success"] == 1
    assert [replan()["looked_at"] for _ in range(2)] == [0, 0]

    CHANGES[change]()
    assert replan()["looked_at"] == 1


def lock_and_reserve(sku: str, location_id: int) -> None:
    with transaction():
        lock([(sku, location_id)])
        reserve([NewReservation(sku, location_id, 1, 2)], reason="tests", at=database_now())


def long_ago(*columns: str) -> None:
    for column in columns:
        execute(f"UPDATE {column} = now() - interval '2 days'")


def test_only_the_newest_fruitless_attempts_keep_their_traces() -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 9}, a_scenario({"filters": {"locations": ["GEBZE"]}}))
    out_of_stock(7)

    for _ in range(KEPT_TRACES + 2):
        replan()

    found = rows("SELECT attempt FROM order_execution_plans WHERE state = 'cancelled' ORDER BY id")
    assert [plan.attempt for plan in found] == [*range(4, KEPT_TRACES + 4)]
    assert rows("SELECT replan_attempts FROM packages") == [(KEPT_TRACES + 2,)]


def test_too_many_attempts_make_it_unavailable_and_that_is_said_once() -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 9}, a_scenario({"filters": {"locations": ["GEBZE"]}}))
    out_of_stock(7)

    for _ in range(4):
        replan(max_attempts=2)

    assert rows("SELECT state, replan_attempts FROM packages") == [(940, 4)]
    assert len(rows("SELECT 1 FROM audit_events WHERE action = 'given_up'")) == 1
    set_stock("CHAIR", "GEBZE", 1)
    assert replan(max_attempts=2)["replanned"] == 1


def test_a_rejected_package_does_not_come_back_to_the_same_shelf() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9, ("CHAIR", "IZMIR"): 1}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", Request(meaning=Meaning.NOTHING), actor="tests")

    replan()
    assert packages() == [("P1-1", "GEBZE", 1000), ("P1-2", "IZMIR", 100)]
    run_command("P1-2", "REFUSE", actor="tests")
    assert replan()["looked_at"] == 0
    assert packages()[-1] == ("P1-2", "IZMIR", 910)

    execute("UPDATE excluded_locations SET until = now()")
    replan()
    assert packages()[-1] == ("P1-3", "GEBZE", 100)
    assert_sound()


def test_what_can_be_placed_is_placed_and_the_rest_waits_on() -> None:
    load_merchant(PLACES, {}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    set_stock("CHAIR", "IZMIR", 1)

    counts = replan()

    assert counts["replanned"] == 1
    assert packages() == [("P1-1", "GEBZE", 1000), ("P1-2", "IZMIR", 100), ("P1-3", "GEBZE", 920)]
    assert replan()["looked_at"] == 0
    assert_sound()


def test_two_packages_of_one_order_are_replanned_together() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR", "LAMP")))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND_ADVANCED", Request({"CHAIR": 1}), actor="tests")
    set_stock("CHAIR", "IZMIR", 5)
    set_stock("LAMP", "IZMIR", 5)

    counts = replan()

    assert counts["replanned"] == 2
    assert sorted(rows("SELECT attempt FROM order_execution_plans")) == [(1,), (2,), (3,)]
    assert len({number for number, *_ in packages()}) == 5
    assert_sound()


def test_late_stock_goes_to_the_most_urgent() -> None:
    out_of_stock(1, 2, 3)
    execute("UPDATE orders SET priority = 9 WHERE number = '3'")
    set_stock("CHAIR", "IZMIR", 1)

    replan()

    assert [number for number, _, state in packages() if state == 100] == ["P3-2"]


def test_orders_that_are_not_planned_are_left_alone() -> None:
    out_of_stock(1, 2)
    execute("UPDATE orders SET state = (ARRAY['held', 'settled'])[id]")
    set_stock("CHAIR", "IZMIR", 5)

    assert replan()["looked_at"] == 0


def test_one_package_that_cannot_be_written_stops_no_other() -> None:
    out_of_stock(1, 2, 3)
    set_stock("CHAIR", "IZMIR", 5)
    execute("UPDATE packages SET number = 'P2-2' WHERE number = 'P1-1'")

    counts = replan()

    assert (counts["replanned"], counts["failed"]) == (2, 1)
    assert len(rows("SELECT 1 FROM audit_events WHERE action = 'planning_failed'")) == 1


def test_an_order_that_somebody_holds_is_left_to_them() -> None:
    out_of_stock(1, 2)
    set_stock("CHAIR", "IZMIR", 5)

    def replan_elsewhere() -> dict[str, int]:
        with connection():
            return replan()

    with ThreadPoolExecutor(1) as pool, transaction():
        execute("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
        counts = pool.submit(replan_elsewhere).result(30)

    assert counts["replanned"] == 1
    assert replan()["replanned"] == 1


def test_leftovers_past_their_time_are_cancelled() -> None:
    rule = {"outcome": "auto_cancel", "cancel_after_days": 3}
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, a_scenario(rule))
    store_orders(an_order(7, skus=("CHAIR", "LAMP")), an_order(8, skus=("LAMP",)))
    plan_all()
    circumstances = circumstances_of("task", database_now())
    assert cancel_overdue(a_run(), circumstances) == 0

    run = Run(database_now() + timedelta(days=3, seconds=1), budget=timedelta(minutes=1))
    assert cancel_overdue(run, circumstances) == 2

    assert rows("SELECT number, state FROM orders ORDER BY id") == [("7", "planned"), ("8", "settled")]
    assert_books_balance()


def test_one_package_that_cannot_be_cancelled_stops_no_other() -> None:
    rule = {"outcome": "auto_cancel", "cancel_after_days": 0}
    load_merchant(PLACES, {}, a_scenario(rule))
    store_orders(*(an_order(key, skus=("LAMP",)) for key in (1, 2, 3)))
    plan_all()
    # Its cancellation cannot be written.
    execute("CREATE RULE no_cancel AS ON UPDATE TO packages WHERE old.id = 2 DO INSTEAD NOTHING")
    try:
        cancelled = cancel_overdue(a_run(), circumstances_of("task", database_now()))
    finally:
        execute("DROP RULE no_cancel ON packages")

    assert cancelled == 2
    assert [state for _, _, state in packages()] == [1000, 920, 1000]


# Shortfalls


def test_a_snapshot_below_what_is_reserved_sends_the_least_urgent_elsewhere(tmp_path: Any) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",), date_placed=f"2026-11-0{key}") for key in (1, 2, 3)))
    plan_all()
    execute("UPDATE orders SET priority = 9 WHERE number = '3'")
    file = tmp_path / "stock.json"
    file.write_text('{"stock": [{"sku": "CHAIR", "location": "GEBZE", "on_hand": 1}]}')

    counts = load_files([file])

    assert counts["packages short of stock"] == 2
    assert [state for _, _, state in packages()] == [910, 910, 100]
    assert rows("SELECT on_hand, reserved FROM stock") == [(1, 1)]
    set_stock("CHAIR", "IZMIR", 1)
    assert replan()["replanned"] == 1
    assert_sound()


def test_what_is_being_prepared_stays_even_when_it_is_short() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()
    run_command("P2-1", "START_PREPARING", actor="tests")
    set_stock("CHAIR", "GEBZE", 0)

    assert relieve_shortfalls(circumstances_of("task", database_now())) == 1

    assert [state for _, _, state in packages()] == [910, 200]
    assert rows("SELECT on_hand, reserved FROM stock") == [(0, 1)]
    assert_books_balance()


def test_stock_that_has_come_back_meanwhile_sends_nobody_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, GREEDY)
    store_orders(an_order(1, skus=("CHAIR",)))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)
    candidates = shortfalls._candidates()
    set_stock("CHAIR", "GEBZE", 1)
    monkeypatch.setattr(shortfalls, "_candidates", lambda: candidates)

    assert len(candidates) == 1
    assert relieve_shortfalls(circumstances_of("task", database_now())) == 0
    assert packages() == [("P1-1", "GEBZE", 100)]


def test_a_transfer_whose_source_is_short_looks_for_another_one() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    set_stock("LAMP", "IZMIR", 0)
    set_stock("LAMP", "ANKARA", 1)

    assert relieve_shortfalls(circumstances_of("task", database_now())) == 1
    assert transfers() == [("T1-1-1", "IZMIR", 920)]
    assert replan_transfers(a_run())["replaced"] == 1
    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    assert packages() == [("P1-1", "GEBZE", 150)]
    assert_books_balance()


def test_a_package_that_waits_for_a_transfer_gives_way_too() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)

    assert relieve_shortfalls(circumstances_of("task", database_now())) == 1
    assert packages() == [("P1-1", "GEBZE", 910)]
    assert transfers() == [("T1-1-1", "IZMIR", 1000)]
    assert_books_balance()


def test_one_order_that_somebody_holds_keeps_nobody_from_giving_way(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)
    execute("SET lock_timeout = '50ms'")
    try:
        with psycopg.connect(**connection_parameters(settings.current())) as other:
            other.execute("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
            assert relieve_shortfalls(circumstances_of("task", database_now())) == 1
    finally:
        execute("SET lock_timeout = '10s'")

    assert [state for _, _, state in packages()] == [100, 910]


def test_a_discrepancy_alone_is_no_shortfall() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    set_stock("CHAIR", "GEBZE", 1)

    assert relieve_shortfalls(circumstances_of("task", database_now())) == 0


# Task 5


@pytest.fixture
def lost_transfer() -> None:
    """A transfer of a lamp to Gebze, whose source Izmir does not have it."""
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.NOTHING), actor="tests")


def transfers() -> list[tuple[Any, ...]]:
    found = rows(
        """
        SELECT number, code, transfer_orders.state FROM transfer_orders
        JOIN locations ON locations.id = source_id
        ORDER BY transfer_orders.id
        """
    )
    return [tuple(transfer) for transfer in found]


def test_a_transfer_gets_another_source_and_never_one_already_tried(lost_transfer: None) -> None:
    assert replan_transfers(a_run()) == {"looked_at": 0, "replaced": 0}
    set_stock("LAMP", "ANKARA", 1)

    assert replan_transfers(a_run()) == {"looked_at": 1, "replaced": 1}

    assert transfers() == [("T1-1-1", "IZMIR", 1000), ("T1-1-2", "ANKARA", 100)]
    assert rows("SELECT sku, reserved FROM stock WHERE location_id = 3") == [("LAMP", 1)]
    run_command("T1-1-2", "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.NOTHING), actor="tests")
    assert replan_transfers(a_run())["replaced"] == 0
    assert transfers()[-1] == ("T1-1-2", "ANKARA", 920)
    assert_books_balance()


def test_the_next_source_is_ranked_by_the_rule_and_says_why_it_was_chosen(lost_transfer: None) -> None:
    rule = {"mode": "single", "transferable": True, "ranking": ["-stock_amount"]}
    load_merchant(
        {"ADANA": {"priority": 1, "is_default": False}},
        {("LAMP", "ANKARA"): 4, ("LAMP", "ADANA"): 2},
        a_scenario(rule),
    )

    assert replan_transfers(a_run())["replaced"] == 1

    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    (plan,) = rows("SELECT context FROM order_execution_plans WHERE attempt = 2")
    assert plan.context["transfer"] == "T1-1-1"
    (traced,) = plan.context["rules"]
    assert {line["location"]: line["verdict"] for line in traced["locations"]} == {
        "ANKARA": trace.SOURCE,
        "ADANA": trace.RANKED_BEHIND,
        "GEBZE": transfer_sources.NO_SOURCE,
        "IZMIR": transfer_sources.NO_SOURCE,
    }


def test_a_source_that_has_denied_a_line_is_not_asked_for_it_by_a_new_plan() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", Request(), actor="tests")
    run_command("P1-1", "REFUSE", actor="tests")
    clear(a_run(), minimum_age=timedelta(0), reason="task")

    replan()

    assert packages() == [("P1-1", "GEBZE", 910)]


def test_a_refusal_denies_nothing_that_a_transfer_was_to_bring() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3, ("LAMP", "GEBZE"): 0}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()

    run_command("P1-1", "REFUSE", Request(meaning=Meaning.QUANTITY), actor="tests")

    assert rows("SELECT sku, quantity FROM reservations WHERE kind = 'discrepancy'") == [("CHAIR", 1)]


def test_a_transfer_whose_package_is_gone_is_left_alone(lost_transfer: None) -> None:
    set_stock("LAMP", "ANKARA", 1)
    run_command("P1-1", "CANCEL", actor="tests")

    assert replan_transfers(a_run())["replaced"] == 0
    assert transfers() == [("T1-1-1", "IZMIR", 1000)]


def test_two_runs_at_once_replace_a_transfer_once(lost_transfer: None) -> None:
    set_stock("LAMP", "ANKARA", 5)

    runs = [a_run() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = [*pool.map(replan_transfers, runs)]

    assert sum(result["replaced"] for result in results) == 1
    assert len(transfers()) == 2
    assert_books_balance()


# Task 6


def clear_all(minimum_age: timedelta = timedelta(0)) -> int:
    return clear(a_run(), minimum_age=minimum_age, reason="task")["cleared"]


def test_cleared_discrepancies_let_the_stock_be_promised_again() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    assert rows("SELECT reserved FROM stock") == [(5,)]

    assert (clear_all(), clear_all()) == (1, 0)

    assert rows("SELECT on_hand, reserved FROM stock") == [(5, 0)]
    assert rows("SELECT quantity FROM stock_movements WHERE kind = 'released' ORDER BY id") == [(-1,), (-5,)]


@pytest.mark.parametrize(
    ("change", "cleared"),
    [
        ("created_at = now() - interval '61 minutes'", 1),
        ("created_at = now() - interval '59 minutes'", 0),
        ("expires_at = now()", 1),
        ("expires_at = now() + interval '1 minute'", 0),
        ("kind = kind", 0),
    ],
)
def test_a_discrepancy_has_its_time(change: str, cleared: int) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    execute("UPDATE stock SET snapshot_at = NULL")
    execute(f"UPDATE reservations SET {change} WHERE kind = 'discrepancy'")

    assert clear_all(timedelta(hours=1)) == cleared


def test_a_newer_snapshot_ends_a_discrepancy_of_its_own_stock_only() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    set_stock("CHAIR", "GEBZE", 5)

    assert clear_all(timedelta(hours=1)) == 1
    assert rows("SELECT sku FROM reservations WHERE kind = 'discrepancy' AND released_at IS NULL") == [
        ("LAMP",)
    ]


def test_batches_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replanning, "BATCH", 4)
    monkeypatch.setattr(replanning, "CANDIDATES", 6)
    out_of_stock(*range(1, 22))
    set_stock("CHAIR", "IZMIR", 17)

    assert replan()["replanned"] == 17
    assert_sound()


# What a review found


def test_the_rule_that_asked_for_a_transfer_says_where_from_it_may_come() -> None:
    rule = {
        "mode": "single",
        "transferable": True,
        "ranking": ["priority"],
        "transfer_from": {"locations": ["GEBZE", "IZMIR"]},
    }
    stock = {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3, ("LAMP", "ANKARA"): 3}
    load_merchant(PLACES, stock, a_scenario(rule))
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", actor="tests")

    assert replan_transfers(a_run())["replaced"] == 0


def test_a_source_that_has_rejected_the_line_is_no_source(lost_transfer: None) -> None:
    set_stock("LAMP", "ANKARA", 1)
    execute("INSERT INTO excluded_locations VALUES (2, 3, now() + interval '1 day')")

    assert replan_transfers(a_run())["replaced"] == 0


def test_a_package_whose_transfers_cannot_come_may_be_refused_and_planned_anew(lost_transfer: None) -> None:
    for place in ("IZMIR", "ANKARA"):
        set_stock("LAMP", place, 5)
        set_stock("CHAIR", place, 5)
    run_command("P1-1", "REFUSE", actor="tests")

    assert replan()["replanned"] == 1
    # Gebze has refused the package, and Izmir has denied the lamp.
    assert packages()[-1][1:] == ("ANKARA", 100)
    assert_books_balance()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_transfer_lost_on_its_way_is_looked_for_elsewhere(cancelled: bool) -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3, ("LAMP", "ANKARA"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    run_command("T1-1-1", "SHIP_TRANSFER", actor="tests")
    if cancelled:
        run_command("P1-1", "CANCEL", actor="tests")

    said = run_command("T1-1-1", "TRANSFER_LOST", actor="tests")

    assert said == ("cancelled" if cancelled else "out_of_stock")
    assert replan_transfers(a_run())["replaced"] == (0 if cancelled else 1)
    assert rows("SELECT on_hand, reserved FROM stock WHERE location_id = 2") == [(2, 0)]
    assert_books_balance()


def test_auto_cancel_holds_for_what_was_rejected_too() -> None:
    rule = {"filters": {"locations": ["GEBZE"]}, "outcome": "auto_cancel", "cancel_after_days": 3}
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("CHAIR", "IZMIR"): 5}, a_scenario(rule))
    store_orders(an_order(7, skus=("CHAIR",)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")

    replan()

    (waiting,) = rows("SELECT cancel_after - now() AS pause FROM packages")
    assert timedelta(days=2, hours=23) < waiting.pause <= timedelta(days=3)


def test_a_command_said_twice_for_one_version_is_done_once() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",) * 4))
    plan_all()
    request = Request({"CHAIR": 1}, version=0)
    run_command("P1-1", "PRODUCT_NOT_FOUND_ADVANCED", request, actor="tests")

    with pytest.raises(WrongStateError, match="version 0 of P1-1, which has the version 1"):
        run_command("P1-1", "PRODUCT_NOT_FOUND_ADVANCED", request, actor="tests")

    assert len(packages()) == 2


@pytest.mark.parametrize("quota", [10_000, None])
def test_loads_and_planners_in_any_order_come_to_their_end(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, quota: int | None
) -> None:
    codes = [f"L{number:02}" for number in range(40)]
    load_merchant({code: {"quota": quota} for code in codes}, {("CHAIR", code): 99 for code in codes}, GREEDY)
    files = []
    for number, order in enumerate((codes, codes[::-1])):
        specs = [{"code": code, "name": code, "type": "store"} for code in order]
        levels = [{"sku": "CHAIR", "location": code, "on_hand": 99} for code in order]
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps({"locations": specs, "stock": levels}))
    store_orders(*(an_order(key, skus=("CHAIR",) * 3) for key in range(1, 61)))

    def plan_elsewhere() -> None:
        with connection():
            for _ in range(3):
                plan_all()

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(load_files, [file]) for file in files * 8]
        plans = [pool.submit(plan_elsewhere) for _ in range(3)]
        assert all(load.result(60)["locations"] == 40 for load in loads)
        assert [plan.result(60) for plan in plans] == [None] * 3

    assert "40P01" not in caplog.text
    assert rows("SELECT DISTINCT quota FROM locations") == [(quota,)]
    assert_sound()


def test_one_counter_that_drifted_keeps_no_other_discrepancy_from_being_cleared() -> None:
    load_merchant(PLACES, {(sku, "GEBZE"): 5 for sku in ("CHAIR", "LAMP", "STOOL")}, GREEDY)
    store_orders(*(an_order(n, skus=(sku,)) for n, sku in enumerate(("CHAIR", "LAMP", "STOOL"), start=1)))
    plan_all()
    for number in (1, 2, 3):
        run_command(f"P{number}-1", "PRODUCT_NOT_FOUND", actor="tests")
    execute("UPDATE stock SET reserved = 0 WHERE sku = 'LAMP'")

    assert clear(a_run(), minimum_age=timedelta(0), reason="task") == {"cleared": 2}

    assert rows("SELECT sku FROM reservations WHERE kind = 'discrepancy' AND released_at IS NULL") == [
        ("LAMP",)
    ]


def test_many_that_wait_are_found_from_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unplanned, "FEW", 3)
    out_of_stock(*range(1, 8))
    out_of_stock(8, sku="LAMP")
    set_stock("LAMP", "IZMIR", 1)

    assert replan()["replanned"] == 1
