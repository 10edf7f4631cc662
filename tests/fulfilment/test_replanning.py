"""Replanning packages on a real database: which are planned again, once, and to where."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import connection, database_now, execute, rows, transaction
from oms_workers.fulfilment import candidates
from oms_workers.fulfilment.failed_attempts import KEPT_TRACES
from oms_workers.packages.commands.registry import (
    Request,
    WrongStateError,
    run_command,
)
from oms_workers.packages.ended_waits import cancel_ended_waits
from oms_workers.packages.models import UNPLANNED_STATES, PackageState
from oms_workers.reservations.models import Meaning
from oms_workers.reservations.stock import NewReservation, lock, reserve
from oms_workers.scheduling.run import Run
from tests.fulfilment.samples import a_scenario, assert_books_balance, assert_sound, load_merchant
from tests.fulfilment.steps import (
    GREEDY,
    PLACES,
    STOCKLESS,
    a_run,
    out_of_stock,
    packages,
    plan_all,
    replan,
    run_planners,
    set_stock,
)
from tests.orders.samples import an_order, store_orders


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


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


def test_without_a_default_location_packages_wait(caplog: pytest.LogCaptureFixture) -> None:
    out_of_stock(1, 2)
    set_stock("CHAIR", "IZMIR", 1)
    execute("UPDATE locations SET is_default = false")

    counts = replan()

    assert (counts["replanned"], counts["waiting_for_default_location"]) == (0, 2)
    (said,) = caplog.messages
    assert "No location is marked is_default" in said


@pytest.mark.parametrize("state", UNPLANNED_STATES, ids=lambda state: state.name)
def test_task_3_takes_all_four_states_and_task_4_two(state: PackageState) -> None:
    out_of_stock(7)
    execute("UPDATE packages SET state = %s", (state.value,))
    execute("UPDATE package_items SET state = %s", (state.value,))
    set_stock("CHAIR", "IZMIR", 1)

    by_task_4 = replan(STOCKLESS)["replanned"]
    by_task_3 = replan()["replanned"]

    assert (by_task_4, by_task_3) == ((1, 0) if state in STOCKLESS else (0, 1))


def test_two_replanning_tasks_due_in_the_same_second_replan_each_package_once() -> None:
    out_of_stock(*range(1, 301))
    for place in ("GEBZE", "IZMIR", "ANKARA"):
        set_stock("CHAIR", place, 75)

    run_planners("replan", processes=4, batch=20)

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
    assert cancel_ended_waits(a_run(), actor="task") == 0

    run = Run(database_now() + timedelta(days=3, seconds=1), budget=timedelta(minutes=1))
    assert cancel_ended_waits(run, actor="task") == 2

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
        cancelled = cancel_ended_waits(a_run(), actor="task")
    finally:
        execute("DROP RULE no_cancel ON packages")

    assert cancelled == 2
    assert [state for _, _, state in packages()] == [1000, 920, 1000]


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


def test_many_that_wait_are_found_from_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "FEW", 3)
    out_of_stock(*range(1, 8))
    out_of_stock(8, sku="LAMP")
    set_stock("LAMP", "IZMIR", 1)

    assert replan()["replanned"] == 1
