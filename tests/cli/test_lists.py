"""What waits for a person or went wrong can be listed, and let go or planned again in one go."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oms_workers.cli.app import main
from oms_workers.database import execute, rows, transaction
from oms_workers.fulfilment import replanning_by_hand
from oms_workers.orders import held_orders
from oms_workers.packages.commands.registry import Request, run_command
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, out_of_stock, packages, plan_all, set_stock
from tests.orders.samples import an_order, store_orders

HOLDING = a_scenario({"filters": {"locations": ["GEBZE"]}, "outcome": "hold", "hold_reason": "no price"}, {})


def held(*keys: int) -> None:
    """Orders that a rule holds for want of a price."""
    load_merchant(PLACES, {}, HOLDING)
    store_orders(*(an_order(key, date_placed=f"2026-11-{key:02}T12:00:00Z") for key in keys))
    plan_all()
    assert rows("SELECT DISTINCT state FROM orders") == [("held",)]


def test_held_orders_are_listed_with_age_and_reason_the_oldest_first(oms) -> None:
    held(9, 7, 8)

    found = json.loads(oms("orders", "--state", "held", "--json").output)
    said = oms("orders", "--state", "held", "--since", "2026-11-08").output

    assert [order["number"] for order in found["orders"]] == ["7", "8", "9"]
    assert found["more"] == 0
    oldest = found["orders"][0]
    assert (oldest["omnitron_id"], oldest["reason"], oldest["state"]) == (7, "no price", "held")
    assert oldest["age_seconds"] > 0
    assert "no price" in said
    assert [line.split()[0] for line in said.splitlines()[1:]] == ["8", "9"]


def test_a_list_is_bounded_and_says_how_many_more_there_are(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    held(*range(1, 8))

    assert "and 5 more" in oms("orders", "--state", "held", "--limit", "2").output
    assert json.loads(oms("orders", "--state", "held", "--limit", "2", "--json").output)["more"] == 5

    monkeypatch.setattr("oms_workers.backlog.MOST_COUNTED", 3)
    monkeypatch.setattr("oms_workers.cli.listing.MOST_COUNTED", 3)
    assert "and more than 3 more" in oms("orders", "--state", "held", "--limit", "2").output


def test_every_kind_of_order_that_waits_for_a_person_can_be_listed(oms) -> None:
    store_orders(an_order(1, skus=()), an_order(2))
    rejected = json.loads(oms("orders", "--state", "rejected", "--json").output)["orders"]
    waiting = json.loads(oms("orders", "--state", "waiting", "--json").output)["orders"]
    execute("UPDATE orders SET line_changes = '[]'")
    changed = json.loads(oms("orders", "--state", "changed", "--json").output)["orders"]

    assert [(each["omnitron_id"], each["reason"]) for each in rejected] == [("1", "the order has no items")]
    assert [each["number"] for each in waiting] == ["2"]
    assert [each["reason"] for each in changed] == ["its lines changed in Omnitron after it was planned"]
    assert "There are no such orders" in oms("orders", "--state", "held").output


def test_an_order_that_is_put_off_says_until_when_and_why(oms) -> None:
    store_orders(an_order(2))
    later = datetime.now(UTC) + timedelta(minutes=10)
    execute("UPDATE orders SET next_plan_at = %s", (later,))
    execute(
        "INSERT INTO audit_events (at, actor, object_type, object_id, action, content)"
        " VALUES (now(), 'task', 'order', 1, 'planning_failed', '{\"problem\": \"ValueError: odd\"}')"
    )

    (order,) = json.loads(oms("orders", "--state", "waiting", "--json").output)["orders"]

    assert order["reason"] == f"put off until {later:%Y-%m-%d %H:%M:%S} UTC: ValueError: odd"


def test_packages_are_listed_with_the_reason_that_was_given(oms) -> None:
    out_of_stock(7)
    set_stock("CHAIR", "IZMIR", 2)
    store_orders(an_order(8, skus=("CHAIR",)), an_order(9, skus=("CHAIR",)))
    plan_all()
    run_command("P2-1", "PRODUCT_NOT_FOUND", Request(reason="the shelf is empty"), actor="someone")
    run_command("P3-1", "BLOCK", Request(reason="fraud?"), actor="someone")

    found = json.loads(oms("packages", "--state", "out_of_stock", "--json").output)["packages"]
    blocked = json.loads(oms("packages", "--state", "blocked", "--json").output)["packages"]
    future = oms("packages", "--state", "out_of_stock", "--since", "2390-01-01")

    assert [(each["number"], each["order"], each["location"], each["reason"]) for each in found] == [
        ("P1-1", "7", "GEBZE", "no rule could place its items"),
        ("P2-1", "8", "IZMIR", "the shelf is empty"),
    ]
    assert [each["reason"] for each in blocked] == ["fraud?"]
    assert "There are no such packages" in future.output
    assert "the shelf is empty" in oms("packages", "--state", "out_of_stock").output


def test_a_package_that_was_parted_says_from_which(oms) -> None:
    load_merchant(PLACES, {("CHAIR", "IZMIR"): 2}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR")))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND_ADVANCED", Request({"CHAIR": 1}), actor="someone")

    (parted,) = json.loads(oms("packages", "--state", "out_of_stock", "--json").output)["packages"]

    assert (parted["number"], parted["reason"]) == ("P1-2", "was missing from P1-1")


RUN = """
    INSERT INTO scheduled_runs (task, slot, first_slot, state, reason, trigger, attempts, error)
    VALUES (%s, %s, %s, %s, %s, 'tick', 1, %s)
"""
TASK = "oms.fulfilment.tasks.fulfil_waiting_orders"


def a_run(slot: datetime, state: str, error: str | None = None, task: str = TASK) -> None:
    reason = "stale" if state == "skipped" else None
    execute(RUN, (task, slot, slot, state, reason, error))


def test_failed_runs_are_listed_the_newest_first_those_of_tasks_that_are_gone_too(oms) -> None:
    today = datetime.now(UTC).replace(microsecond=0)
    a_run(today - timedelta(days=2), "failed", "worker died")
    a_run(today - timedelta(hours=2), "failed", "ValueError: odd")
    a_run(today - timedelta(hours=1), "succeeded")
    a_run(today - timedelta(hours=3), "failed", "gone wrong", task="oms.old.tasks.task")

    found = json.loads(oms("runs", "--failed", "--json").output)["runs"]
    lately = oms("runs", "--failed", "--since", (today - timedelta(days=1)).isoformat()).output

    assert [(run["name"], run["error"]) for run in found] == [
        ("fulfil-waiting-orders", "ValueError: odd"),
        (None, "gone wrong"),
        ("fulfil-waiting-orders", "worker died"),
    ]
    assert "ValueError: odd" in lately
    assert "oms.old.tasks.task (gone)" in lately
    assert "worker died" not in lately
    assert len(json.loads(oms("runs", "--json").output)["runs"]) == 4
    of_task = oms("runs", "--failed", "--task", "FULFIL_WAITING_ORDERS", "--json")
    assert len(json.loads(of_task.output)["runs"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders"], "Missing option '--state'"),
        (["orders", "--state", "planned"], "'planned' is not one of"),
        (["orders", "--state", "held", "--since", "yesterday"], "is no ISO 8601 instant"),
        (["orders", "--state", "held", "--limit", "0"], "Invalid value for '--limit'"),
        (["packages", "--state", "delivered"], "'delivered' is no state in which packages wait; there are"),
        (["runs", "--task", "nonsense"], "No task is called 'nonsense'"),
        (["release"], "Name the orders, or give --all-held"),
        (["release", ""], "ORDER is empty"),
        (["release", "7", ""], "ORDER is empty"),
        (["release", "--all-held"], "--all-held needs --reason"),
        (["release", "--all-held", "--reason", " "], "--reason is empty"),
        (["release", "7", "--all-held", "--reason", "x"], "'7' is named"),
        (["replan"], "Missing argument"),
        (["replan", ""], "A name is empty"),
    ],
)
def test_a_wrong_argument_ends_with_status_2_and_changes_nothing(
    oms, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held(7)
    monkeypatch.setattr(sys, "argv", ["oms", *arguments])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert rows("SELECT state FROM orders") == [("held",)]


def test_all_that_is_held_is_let_go_with_the_reason_in_the_audit_trail(
    oms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_orders, "BATCH", 2)
    held(1, 2, 3, 4, 5)

    ended = oms("release", "--all-held", "--reason", "the prices are there")

    assert (ended.exit_code, ended.output) == (0, "5 orders wait for fulfil-waiting-orders.\n")
    assert rows("SELECT DISTINCT state FROM orders") == [("waiting",)]
    events = rows("SELECT DISTINCT content->>'reason' AS r FROM audit_events WHERE action = 'released'")
    assert events == [("the prices are there",)]


def test_one_that_is_not_held_does_not_keep_the_others(oms) -> None:
    held(7, 8)

    ended = oms("release", "7", "404", "8")

    assert ended.exit_code == 1
    assert "No order '404' is held" in ended.stderr
    assert rows("SELECT state FROM orders") == [("waiting",), ("waiting",)]


def test_an_order_is_let_go_by_omnitron_s_key_too(oms) -> None:
    held(7)
    execute("UPDATE orders SET number = 'R-7'")

    assert oms("release", "7").exit_code == 0

    assert rows("SELECT state FROM orders") == [("waiting",)]


def test_packages_are_planned_again_by_their_numbers_and_their_orders(oms) -> None:
    out_of_stock(7, 8, 9)
    set_stock("CHAIR", "IZMIR", 2)
    execute("UPDATE packages SET fruitless_at = now(), replanned_at = now() - interval '1 s'")

    ended = oms("replan", "P1-1", "8", "--json")

    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.output) == [
        {"number": "P1-1", "outcome": "replanned", "packages": ["P1-2"]},
        {"number": "P2-1", "outcome": "replanned", "packages": ["P2-2"]},
    ]
    assert packages()[:3] == [("P1-1", "GEBZE", 1000), ("P2-1", "GEBZE", 1000), ("P3-1", "GEBZE", 920)]
    actors = rows("SELECT DISTINCT actor FROM audit_events WHERE action IN ('superseded', 'replanned')")
    assert [actor.actor.startswith("operator:") for actor in actors] == [True]
    assert_sound()


def test_what_cannot_be_planned_again_by_hand_stays_and_says_why(oms) -> None:
    out_of_stock(7)

    nothing = oms("replan", "7")
    load_merchant({}, {("CHAIR", "IZMIR"): 1}, a_scenario({"filters": {"locations": ["GEBZE"]}}))
    unplaceable = oms("replan", "7")

    assert (nothing.exit_code, unplaceable.exit_code) == (1, 1)
    assert "P1-1 is still out_of_stock: nothing of it is available" in nothing.output
    assert "P1-1 is still out_of_stock: no rule could place it" in unplaceable.output
    assert rows("SELECT state FROM packages") == [(920,)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("P2-1", "P2-1 is waiting; only a package that is needs_replan"),
        ("8", "no order with packages that are needs_replan"),
        ("404", "No package '404'"),
    ],
)
def test_what_does_not_wait_for_a_plan_is_refused_with_all_the_rest(oms, name: str, said: str) -> None:
    out_of_stock(7)
    set_stock("CHAIR", "IZMIR", 1)
    store_orders(an_order(8, skus=("CHAIR",)))
    plan_all()
    before = packages()

    ended = oms("replan", "P1-1", name)

    assert ended.exit_code == 1
    assert said in str(ended.exception)
    assert packages() == before


@pytest.mark.parametrize(
    ("arguments", "index"),
    [
        (["orders", "--state", "held"], "orders_held"),
        (["orders", "--state", "waiting"], "orders_waiting"),
        (["orders", "--state", "changed"], "orders_line_changes"),
        (["packages", "--state", "out_of_stock"], "packages_unplanned"),
        (["packages", "--state", "blocked"], "packages_state"),
        (["runs", "--failed", "--since", "2026-11-01"], "scheduled_runs_slot"),
    ],
)
def test_a_list_is_served_by_an_index_of_what_waits(oms, arguments: list[str], index: str) -> None:
    execute("SET enable_seqscan = off")
    before = rows("SELECT pg_stat_get_xact_numscans(to_regclass(%s)::oid) AS n", (index,))[0].n

    with transaction():
        assert oms(*arguments, "--json").exit_code == 0
        used = rows("SELECT pg_stat_get_xact_numscans(to_regclass(%s)::oid) AS n", (index,))[0].n

    execute("RESET enable_seqscan")
    assert used > before


def test_a_held_order_keeps_its_reason_when_omnitron_changes_something_else(oms) -> None:
    held(7)
    store_orders(an_order(7, date_placed="2026-11-07T12:00:00Z", modified_date="2026-12-01T00:00:00Z"))
    assert rows("SELECT count(*) FROM audit_events WHERE action = 'updated'") == [(1,)]

    (order,) = json.loads(oms("orders", "--state", "held", "--json").output)["orders"]

    assert order["reason"] == "no price"


def test_a_name_of_two_orders_changes_neither(oms) -> None:
    held(7, 8)
    execute("UPDATE orders SET number = '7' WHERE omnitron_id = 8")

    ended = oms("release", "7")

    assert ended.exit_code == 1
    assert "'7' means 2 orders" in ended.stderr
    assert rows("SELECT DISTINCT state FROM orders") == [("held",)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("release", "7", "--reason", ""),
        ("release", "7", "--reason", "\ud800"),
        ("release", "--all-held", "--reason", "\x1b[31mno"),
        ("orders", "--state", "held", "--since", ""),
        ("packages", "--state", "blocked", "--since", " "),
        ("runs", "--task", ""),
        ("runs", "--since", ""),
    ],
)
def test_an_empty_argument_is_a_wrong_one(oms, arguments: tuple[str, ...]) -> None:
    held(7)

    ended = oms(*arguments)

    assert ended.exit_code == 2
    assert arguments[-2] in ended.stderr
    assert rows("SELECT state FROM orders") == [("held",)]


def test_a_package_that_was_cancelled_meanwhile_is_not_called_replanned(
    oms, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_stock(7)
    plan = replanning_by_hand.plan_in_batches

    def cancel_first(*arguments: Any) -> Any:
        run_command("P1-1", "CANCEL", Request(), actor="somebody else")
        return plan(*arguments)

    monkeypatch.setattr(replanning_by_hand, "plan_in_batches", cancel_first)

    ended = oms("replan", "P1-1")

    assert (ended.exit_code, ended.output) == (1, "P1-1 is cancelled by now.\n")


def test_without_a_default_location_replanning_says_what_is_missing(oms) -> None:
    out_of_stock(7)
    set_stock("CHAIR", "IZMIR", 2)
    execute("UPDATE locations SET is_default = false")

    ended = oms("replan", "P1-1")

    assert ended.exit_code == 1
    assert "No location is marked is_default" in str(ended.exception)
