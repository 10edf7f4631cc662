"""Storing orders: any number of times, in any shape."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms_workers.database import connection, execute, rows
from oms_workers.orders.intake import IntakeOutcome, key_of, seen_before, store
from tests.orders.samples import an_order, store_orders

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with no orders."""


def only_order() -> Any:
    (order,) = rows("SELECT * FROM orders")
    return order


def skus() -> list[str]:
    return [line.sku for line in rows("SELECT sku FROM order_items ORDER BY omnitron_id")]


def actions() -> list[str]:
    return [event.action for event in rows("SELECT action FROM audit_events ORDER BY id")]


def contents() -> list[Any]:
    return [event.content for event in rows("SELECT content FROM audit_events ORDER BY id")]


def test_the_same_order_again_changes_nothing() -> None:
    assert store_orders(an_order(7), an_order(7)) == [IntakeOutcome.STORED, IntakeOutcome.UNCHANGED]

    assert only_order().state == "waiting"
    assert skus() == ["CRUNCHY-ARMCHAIR"]
    assert actions() == ["received"]


def test_changed_lines_of_a_waiting_order_replace_the_old() -> None:
    store_orders(an_order(7, modified_date="2026-11-01"))

    changed = an_order(7, skus=("RED-LAMP", "RED-STOOL"), modified_date="2026-11-02")
    assert store_orders(changed) == [IntakeOutcome.UPDATED]

    assert skus() == ["RED-LAMP", "RED-STOOL"]
    assert only_order().plan_version == 1
    assert actions() == ["received", "lines_replaced"]


def test_changed_lines_of_a_waiting_order_replace_the_old_also_when_nothing_else_has_changed() -> None:
    order, items = an_order(7)
    store_orders((order, items))

    assert store_orders((order, an_order(7, skus=("RED-LAMP",))[1])) == [IntakeOutcome.UPDATED]

    assert skus() == ["RED-LAMP"]
    assert actions() == ["received", "lines_replaced"]


def test_changed_lines_of_a_held_order_let_it_wait_again() -> None:
    store_orders(an_order(7, modified_date="2026-11-01"))
    execute("UPDATE orders SET state = 'held', next_plan_at = 'infinity'")

    store_orders(an_order(7, skus=("RED-LAMP",), modified_date="2026-11-02"))

    assert (only_order().state, only_order().plan_version) == ("waiting", 1)
    assert rows("SELECT 1 FROM orders WHERE next_plan_at <= now()") != []
    assert skus() == ["RED-LAMP"]


def test_a_held_order_whose_lines_are_the_same_stays_held() -> None:
    store_orders(an_order(7, modified_date="2026-11-01"))
    execute("UPDATE orders SET state = 'held'")

    store_orders(an_order(7, modified_date="2026-11-02"))

    assert (only_order().state, only_order().plan_version) == ("held", 0)
    assert actions() == ["received", "updated"]


def test_the_events_of_an_order_tell_its_states_and_what_changed() -> None:
    store_orders(an_order(7))
    execute("UPDATE orders SET state = 'held'")

    store_orders(an_order(7, skus=("RED-LAMP",), modified_date="2026-11-02"))

    assert contents() == [
        {"state": "waiting", "number": "7", "lines": 1},
        {
            "before": "held",
            "after": "waiting",
            "modified_at": "2026-11-02T00:00:00+00:00",
            "lines": [{"omnitron_id": 701, "sku": "RED-LAMP", "quantity": 1, "status": "400"}],
        },
    ]


@pytest.mark.parametrize("state", ["planned", "settled"])
def test_changed_lines_of_a_planned_order_are_shown_and_change_no_plan(state: str) -> None:
    store_orders(an_order(7, modified_date="2026-11-01"))
    execute("UPDATE orders SET state = %s", (state,))

    changed = an_order(7, skus=("RED-LAMP",), modified_date="2026-11-02")
    assert store_orders(changed, changed) == [IntakeOutcome.UPDATED, IntakeOutcome.UNCHANGED]

    assert skus() == ["CRUNCHY-ARMCHAIR"]
    assert (only_order().state, only_order().plan_version) == (state, 0)
    assert [line["sku"] for line in only_order().line_changes] == ["RED-LAMP"]
    assert actions() == ["received", "lines_changed_after_planning"]


def test_prices_and_progress_of_a_planned_order_are_no_changed_lines() -> None:
    store_orders(an_order(7))
    execute("UPDATE orders SET state = 'planned'")
    order, items = an_order(7, modified_date="2026-11-02T00:00:00Z")

    store_orders((order, [{**items[0], "price": "11.00", "status": "450"}]))

    assert rows("SELECT status, price FROM order_items") == [("450", Decimal("11.00"))]
    assert rows("SELECT line_changes FROM orders") == [(None,)]


def test_a_planned_line_that_was_cancelled_in_the_hub_is_a_changed_line() -> None:
    store_orders(an_order(7))
    execute("UPDATE orders SET state = 'planned'")
    order, items = an_order(7, modified_date="2026-11-02T00:00:00Z")

    store_orders((order, [{**items[0], "status": "100"}]))

    assert rows("SELECT status FROM order_items") == [("400",)]
    (changed,) = rows("SELECT line_changes FROM orders")
    assert [line["status"] for line in changed.line_changes] == ["100"]


def test_lines_that_change_back_are_no_change_any_more() -> None:
    store_orders(an_order(7, modified_date="2026-11-01"))
    execute("UPDATE orders SET state = 'planned'")
    store_orders(an_order(7, skus=("RED-LAMP",), modified_date="2026-11-02"))

    store_orders(an_order(7, modified_date="2026-11-03"))

    assert only_order().line_changes is None


def test_fields_that_do_not_touch_the_plan_are_updated_after_it() -> None:
    store_orders(an_order(7, modified_date="2026-11-01"))
    execute("UPDATE orders SET state = 'planned'")

    store_orders(an_order(7, modified_date="2026-11-02", notes="ring twice", channel="mobile"))

    order = only_order()
    assert (order.payload["notes"], order.channel, order.plan_version) == ("ring twice", "mobile", 0)


def test_an_older_version_that_comes_late_changes_nothing() -> None:
    store_orders(an_order(7, modified_date="2026-11-02"))

    late = an_order(7, skus=("RED-LAMP",), modified_date="2026-11-01")
    assert store_orders(late) == [IntakeOutcome.UNCHANGED]

    assert skus() == ["CRUNCHY-ARMCHAIR"]


def a_bad_order(kind: str) -> tuple[Any, list[Any]]:
    order, items = an_order(7)
    odd: dict[str, tuple[Any, list[Any]]] = {
        "no items": (order, []),
        "no sku": (order, [{**items[0], "product": {}}]),
        "a NUL in the payload": ({**order, "notes": "\0"}, items),
        "a NUL in the number": ({**order, "number": "\0"}, items),
        "half a surrogate pair": ({**order, "notes": "\ud83d"}, items),
        "half a surrogate pair in the number": ({**order, "number": "\udc00"}, items),
        "NaN": ({**order, "amount": float("nan")}, items),
        "a huge integer": ({**order, "pk": 10**40}, items),
        "no key": ({"number": "7"}, items),
        "a list": ([1, 2], []),
        "nothing": (None, []),
    }
    return odd[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "no items",
        "no sku",
        "a NUL in the payload",
        "a NUL in the number",
        "half a surrogate pair",
        "half a surrogate pair in the number",
        "NaN",
        "a huge integer",
        "no key",
        "a list",
        "nothing",
    ],
)
def test_what_cannot_be_stored_is_kept_whole_with_its_reason(kind: str) -> None:
    payload, items = a_bad_order(kind)

    assert store(payload, items, now=NOW) is IntakeOutcome.REJECTED
    assert store(payload, items, now=NOW) is IntakeOutcome.REJECTED

    (rejected,) = rows("SELECT omnitron_id, reason, payload FROM rejected_orders")
    assert rejected.omnitron_id == key_of(payload)
    assert len(rejected.reason) > 10
    kept = json.loads(rejected.payload)
    assert json.dumps(kept) == json.dumps({"order": payload, "items": items})
    assert rows("SELECT id FROM orders") == []


def test_an_item_that_belongs_to_another_order_rejects_only_the_second() -> None:
    first, items = an_order(7)

    outcomes = store_orders((first, items), ({**first, "pk": 8}, items))

    assert outcomes == [IntakeOutcome.STORED, IntakeOutcome.REJECTED]
    assert only_order().omnitron_id == 7


def test_a_rejected_order_that_was_mended_is_stored_and_no_reject_any_more() -> None:
    store_orders((an_order(7)[0], []))

    assert store_orders(an_order(7)) == [IntakeOutcome.STORED]

    assert rows("SELECT id FROM rejected_orders") == []


def test_only_what_was_modified_since_is_worth_fetching() -> None:
    stored = an_order(7, modified_date="2026-11-01T00:00:00Z")[0]
    rejected = an_order(8, modified_date="2026-11-01T00:00:00Z")[0]
    undated = an_order(9)[0]
    store_orders((stored, an_order(7)[1]), (rejected, []), an_order(9))

    later = {"modified_date": "2026-11-02T00:00:00Z"}
    seen = seen_before([stored, rejected, undated, {**stored, **later}, {**rejected, **later}, None, 7, {}])

    assert seen == {0: IntakeOutcome.UNCHANGED, 1: IntakeOutcome.REJECTED}


def test_one_order_from_many_pulls_at_once_is_stored_once() -> None:
    def store_alone(_: int) -> IntakeOutcome:
        with connection():
            return store(*an_order(7), now=NOW)

    with ThreadPoolExecutor(3) as pool:
        outcomes = [*pool.map(store_alone, range(30))]

    assert outcomes.count(IntakeOutcome.STORED) == 1
    assert skus() == ["CRUNCHY-ARMCHAIR"]
    assert actions() == ["received"]
