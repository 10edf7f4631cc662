"""Storing orders: any number of times, in any shape."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms_workers.database import connection, database, execute, rows
from oms_workers.orders.intake import IntakeOutcome, Offer, key_of, seen_before, store, store_all
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
    assert store_orders(late) == [IntakeOutcome.OLDER]

    assert skus() == ["CRUNCHY-ARMCHAIR"]
    assert actions() == ["received"]


def test_an_older_version_that_the_hub_confirms_is_taken() -> None:
    store_orders(an_order(7, modified_date="2026-11-02"))

    older = Offer(*an_order(7, skus=("RED-LAMP",), modified_date="2026-11-01"))
    with connection():
        outcomes = store_all([older], now=NOW, is_confirmed=True)

    assert outcomes == [IntakeOutcome.UPDATED]
    assert skus() == ["RED-LAMP"]


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
    offered = [stored, rejected, undated, {**stored, **later}, {**rejected, **later}, None, 7, {}]
    seen = seen_before(offered, now=datetime.now(UTC))

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


def test_a_page_is_stored_with_a_few_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    original = database.execute_sql

    def count(sql: str, *arguments: Any, **options: Any) -> Any:
        sent.append(sql)
        return original(sql, *arguments, **options)

    monkeypatch.setattr(database, "execute_sql", count)

    outcomes = store_all([Offer(*an_order(key)) for key in range(1, 101)], now=NOW)

    assert outcomes == [IntakeOutcome.STORED] * 100
    assert len(sent) < 12
    assert rows("SELECT count(*) AS n FROM order_items")[0].n == 100


def test_one_order_that_the_database_refuses_stops_no_other_of_its_page() -> None:
    stolen = an_order(50)[1]
    page = [Offer(*an_order(key)) for key in range(1, 50)]
    page += [Offer(*an_order(50)), Offer({**an_order(51)[0]}, [{**stolen[0], "order": None}])]
    page += [Offer(*an_order(key)) for key in range(52, 60)]

    outcomes = store_all(page, now=NOW)

    assert [n for n, outcome in enumerate(outcomes) if outcome is not IntakeOutcome.STORED] == [50]
    assert outcomes[50] is IntakeOutcome.REJECTED
    assert len(rows("SELECT id FROM orders")) == 58


def test_a_page_that_has_an_order_twice_ends_with_the_later_version() -> None:
    first, second = an_order(7), an_order(7, skus=("RED-LAMP",), notes="ring twice")

    outcomes = store_all([Offer(*first), Offer(*an_order(8)), Offer(*second)], now=NOW)

    assert outcomes == [IntakeOutcome.STORED, IntakeOutcome.STORED, IntakeOutcome.UPDATED]
    assert "RED-LAMP" in skus()


def test_a_page_of_old_and_new_and_changed_orders_is_stored_in_one_go() -> None:
    store_orders(*(an_order(key, modified_date="2026-11-01") for key in range(1, 7)))
    execute("UPDATE orders SET state = 'planned' WHERE omnitron_id IN (3, 4)")
    execute("UPDATE orders SET state = 'held' WHERE omnitron_id = 5")
    execute("DELETE FROM audit_events")
    later = "2026-11-02"
    changed = {"skus": ("RED-LAMP",), "modified_date": later}

    outcomes = store_all(
        [
            Offer(*an_order(1, modified_date="2026-11-01")),
            Offer(*an_order(2, **changed)),
            Offer(*an_order(3, **changed)),
            Offer(*an_order(4, modified_date=later, notes="ring")),
            Offer(*an_order(5, **changed)),
            Offer(*an_order(6, modified_date="2026-10-01")),
            Offer(*an_order(7)),
            Offer(an_order(8)[0], []),
        ],
        now=NOW,
    )

    assert [outcome.value for outcome in outcomes] == [
        "unchanged", "updated", "updated", "updated", "updated", "older", "stored", "rejected",
    ]  # fmt: skip
    assert rows("SELECT omnitron_id, state FROM orders ORDER BY 1") == [
        (1, "waiting"), (2, "waiting"), (3, "planned"), (4, "planned"), (5, "waiting"), (6, "waiting"),
        (7, "waiting"),
    ]  # fmt: skip
    assert sorted(actions()) == [
        "lines_changed_after_planning", "lines_replaced", "lines_replaced", "received", "updated",
    ]  # fmt: skip


def test_what_could_not_be_read_is_in_the_event_of_the_order() -> None:
    store_orders(an_order(7, extra_field={"priority": 5000}))

    assert only_order().priority == 1000
    assert contents()[0]["remarks"] == ["extra_field.priority: 5000 is beyond 1000, and counts as 1000"]


@pytest.mark.parametrize("kind", ["a NUL in the payload", "half a surrogate pair"])
def test_what_no_database_holds_is_named_by_its_field(kind: str) -> None:
    store_orders(a_bad_order(kind))

    (rejected,) = rows("SELECT reason FROM rejected_orders")
    assert rejected.reason.startswith("the order cannot be stored: notes: holds")
