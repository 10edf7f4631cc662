"""From Omnitron's JSON to an order, or to the reason why there is none."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms_workers.orders.parsing import FACTS, UnstorableOrderError, key_of, modification_of, parse
from tests.orders.samples import an_order

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_an_order_is_read_with_its_lines_in_the_order_of_their_keys() -> None:
    order, items = an_order(7, skus=("CRUNCHY-ARMCHAIR", "RED-LAMP"), date_placed="2026-11-01T10:00:00Z")
    items[0]["estimated_delivery_date"] = "2026-11-30"
    items[1]["quantity"] = 3

    read = parse(order, items[::-1], now=NOW)

    assert (read.omnitron_id, read.number, read.status) == (7, "7", "400")
    assert [(line.sku, line.quantity, line.price) for line in read.lines] == [
        ("CRUNCHY-ARMCHAIR", 1, Decimal("10.00")),
        ("RED-LAMP", 3, Decimal("10.00")),
    ]
    assert read.placed_at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert read.promised_at == datetime(2026, 11, 30, tzinfo=UTC)


def test_an_order_without_dates_was_placed_when_we_saw_it() -> None:
    assert parse(*an_order(7), now=NOW).placed_at == NOW


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("web", "web"),
        (3, "3"),
        (True, "true"),
        ({"pk": 4, "name": "Store", "slug": "store"}, "store"),
        ({"pk": 4, "name": "Store"}, "Store"),
        ({"pk": 4}, "4"),
    ],
)
def test_a_fact_is_text_however_it_comes(value: Any, fact: str) -> None:
    assert parse(*an_order(7, channel=value), now=NOW).facts["channel"] == fact


def test_facts_that_are_absent_or_empty_are_no_facts() -> None:
    absent = dict.fromkeys(FACTS)

    assert parse(*an_order(7, **{**absent, "segment": ""}), now=NOW).facts == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pk": 0}, "pk"),
        ({"pk": -1}, "pk"),
        ({"pk": 2**63}, "pk"),
        ({"pk": None}, "pk"),
        ({"number": ""}, "number"),
        ({"number": "9" * 129}, "number"),
        ({"number": None}, "number"),
        ({"status": None}, "status"),
        ({"notes": "\0"}, "notes: holds a NUL"),
        ({"notes": "\ud83d"}, "notes: holds half a surrogate pair"),
        ({"amount": float("nan")}, "amount: nan is no number"),
        ({"amount": float("-inf")}, "amount: -inf is no number"),
        ({"lines": [{"note": "\0"}]}, r"lines\.0\.note: holds a NUL"),
        ({"a\0b": 1}, r"a\\x00b: its name holds a NUL"),
    ],
)
def test_what_is_wrong_with_an_order_is_named(changes: dict[str, Any], reason: str) -> None:
    order, items = an_order(7)

    with pytest.raises(UnstorableOrderError, match=reason):
        parse({**order, **changes}, items, now=NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pk": "x"}, "pk"),
        ({"product": {}}, "product.sku"),
        ({"product": {"sku": ""}}, "product.sku"),
        ({"product": {"sku": None}}, "product.sku"),
        ({"product": {"sku": "  "}}, "product.sku"),
        ({"product": {"sku": "LAMP\u200b"}}, "product.sku"),
        ({"product": {"sku": "\x1b[31mLAMP"}}, "product.sku"),
        ({"pk": True}, "pk"),
        ({"quantity": True}, "quantity"),
        ({"product": 12}, "product"),
        ({"product": None}, "product"),
        ({"status": None}, "status"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": 10**30}, "quantity"),
        ({"price": "cheap"}, "price"),
    ],
)
def test_what_is_wrong_with_an_item_is_named(changes: dict[str, Any], reason: str) -> None:
    order, items = an_order(7)

    with pytest.raises(UnstorableOrderError, match=reason):
        parse(order, [{**items[0], **changes}], now=NOW)


@pytest.mark.parametrize("payload", [None, [], "order", 7, {}])
def test_what_is_no_order_at_all_is_no_order(payload: Any) -> None:
    with pytest.raises(UnstorableOrderError):
        parse(payload, an_order(7)[1], now=NOW)


@pytest.mark.parametrize("item", [None, [], "item", 7, {}])
def test_what_is_no_item_at_all_is_no_item(item: Any) -> None:
    with pytest.raises(UnstorableOrderError):
        parse(an_order(7)[0], [item], now=NOW)


def test_an_order_without_items_is_no_order() -> None:
    with pytest.raises(UnstorableOrderError, match="no items"):
        parse(an_order(7)[0], [], now=NOW)


def test_two_items_with_one_key_are_no_order() -> None:
    order, items = an_order(7)

    with pytest.raises(UnstorableOrderError, match="two items have the same pk"):
        parse(order, items * 2, now=NOW)


@pytest.mark.parametrize("payload", [None, 7, {}, {"modified_date": "when"}, {"modified_date": None}])
def test_a_modification_that_cannot_be_read_is_none(payload: Any) -> None:
    assert modification_of(payload) is None


@pytest.mark.parametrize(
    ("extra_field", "priority"),
    [
        ({"priority": 5}, 5),
        ({"priority": "5"}, 5),
        ({"priority": -1}, -1),
        ({"priority": True}, 0),
        ({"priority": 10**6}, 1000),
        ({"priority": 5000}, 1000),
        ({"priority": 1001}, 1000),
        ({"priority": 1000}, 1000),
        ({"priority": "-1001"}, -1000),
        ({"priority": "first"}, 0),
        ({}, 0),
        ([], 0),
        (None, 0),
    ],
)
def test_the_priority_is_what_the_merchant_has_put_into_the_order(extra_field: Any, priority: int) -> None:
    order, items = an_order(7, extra_field=extra_field)

    assert parse(order, items, now=NOW).priority == priority


@pytest.mark.parametrize(("sku", "read"), [("RED-LAMP ", "RED-LAMP"), (7, "7")])
def test_a_sku_has_no_blanks_around_it(sku: Any, read: str) -> None:
    order, items = an_order(7)

    assert parse(order, [{**items[0], "product": {"sku": sku}}], now=NOW).lines[0].sku == read


@pytest.mark.parametrize("value", ["yesterday", "0001-01-01", 1e300, [], "2026-13-45"])
@pytest.mark.parametrize("name", ["date_placed", "created_date", "modified_date"])
def test_a_date_that_cannot_be_read_is_left_out_and_said(name: str, value: Any) -> None:
    order, items = an_order(7)

    read = parse({**order, name: value}, items, now=NOW)

    assert (read.placed_at, read.modified_at) == (NOW, None)
    (remark,) = read.remarks
    assert remark.startswith(f"{name}: ")
    assert "is no date that can be read" in remark


def test_a_date_of_an_item_that_cannot_be_read_is_left_out_and_said() -> None:
    order, items = an_order(7, skus=("CRUNCHY-ARMCHAIR", "RED-LAMP"))
    items[0]["estimated_delivery_date"] = "2026-11-30"
    items[1]["estimated_delivery_date"] = "soon"

    read = parse(order, items, now=NOW)

    assert read.promised_at == datetime(2026, 11, 30, tzinfo=UTC)
    assert read.remarks == (
        "items.1.estimated_delivery_date: 'soon' is no date that can be read, and is left out",
    )


@pytest.mark.parametrize(
    ("priority", "said"), [(5000, "5000 is beyond 1000"), ("high", "'high' is no whole")]
)
def test_a_priority_that_does_not_count_as_it_is_is_said(priority: Any, said: str) -> None:
    order, items = an_order(7, extra_field={"priority": priority})

    (remark,) = parse(order, items, now=NOW).remarks

    assert remark.startswith(f"extra_field.priority: {said}")


def test_a_quantity_of_null_is_one_unit() -> None:
    order, items = an_order(7)

    assert parse(order, [{**items[0], "quantity": None}], now=NOW).lines[0].quantity == 1


@pytest.mark.parametrize(("depth", "is_stored"), [(90, True), (900, False)])
def test_an_order_may_be_nested_only_so_far(depth: int, is_stored: bool) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = [nested]
    order, items = an_order(7, notes=nested)

    if is_stored:
        assert parse(order, items, now=NOW).payload["notes"] == nested
        return
    with pytest.raises(UnstorableOrderError, match=r"notes\.0\.0: is nested in more than 100 levels"):
        parse(order, items, now=NOW)


def test_a_price_that_no_database_holds_is_named() -> None:
    order, items = an_order(7)

    with pytest.raises(UnstorableOrderError, match="price"):
        parse(order, [{**items[0], "price": "1e400000"}], now=NOW)


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ({"pk": 7, "number": "1"}, "7"),
        ({"pk": None, "number": "A-1"}, "number:A-1"),
        ({"number": 12}, "number:12"),
    ],
)
def test_what_has_no_key_goes_by_its_number(payload: Any, key: str) -> None:
    assert key_of(payload) == key


def test_what_has_neither_goes_by_what_does_not_move() -> None:
    one, same = ({"notes": "x", "modified_date": day} for day in ("2026-11-01", "2026-11-02"))

    assert key_of(one) == key_of(same)
    assert key_of(one) != key_of({**one, "notes": "y"})
    assert key_of([1]) != key_of([2])
