"""Sets of rows through models: what is written, and what comes back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from peewee import fn

from oms_workers.audit_events.models import AuditEvent
from oms_workers.database import rows
from oms_workers.orders.models import Order, OrderItem, OrderState
from oms_workers.packages.models import PackageState
from oms_workers.reservations.models import Location, Stock
from oms_workers.sets import (
    Arrays,
    CodeField,
    NameField,
    among,
    column,
    exists,
    fetch,
    fetch_one,
    none_of,
    not_among,
    one_of,
)
from tests import proof

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty(db: None) -> Iterator[None]:
    """Each test begins with nothing, and writes beside the door, which is not what it is about."""
    yield
    proof.forget()


class NewOrder(NamedTuple):
    """What differs between the orders of these tests."""

    id: int
    omnitron_id: int
    number: str
    state: OrderState
    facts: dict[str, Any]
    line_changes: list[int] | None = None


class OrderRow(NamedTuple):
    """What these tests look at."""

    id: int
    state: OrderState


def store(*orders: NewOrder) -> int:
    return Order.insert_set(
        orders, status="400", next_plan_at=NOW, placed_at=NOW, received_at=NOW, payload={"whole": True}
    )


def three_orders() -> None:
    states = (OrderState.WAITING, OrderState.PLANNED, OrderState.PLANNED)
    store(*(NewOrder(n, n, str(n), state, {}) for n, state in enumerate(states, start=1)))


ODD = {
    "quote": '"',
    "backslash": "\\",
    "braces": "{a,b}",
    "null": None,
    "text": "NULL",
    "é": "ğ",
    "number": 1.5,
}


def test_a_set_is_inserted_with_what_is_the_same_in_every_row() -> None:
    assert (
        store(NewOrder(1, 11, "7", OrderState.HELD, ODD), NewOrder(2, 12, "8", OrderState.WAITING, {})) == 2
    )

    found = rows("SELECT number, state, facts, payload, line_changes, placed_at FROM orders ORDER BY id")
    assert [tuple(row) for row in found] == [
        ("7", "held", ODD, {"whole": True}, None, NOW),
        ("8", "waiting", {}, {"whole": True}, None, NOW),
    ]


def test_a_document_that_is_missing_is_null_and_not_a_document() -> None:
    store(NewOrder(1, 11, "7", OrderState.HELD, {}, [1]), NewOrder(2, 12, "8", OrderState.HELD, {}, None))

    found = rows("SELECT line_changes, line_changes IS NULL FROM orders ORDER BY id")
    assert [tuple(row) for row in found] == [([1], False), (None, True)]


def test_no_rows_are_no_statement() -> None:
    assert store() == 0
    assert Order.update_set([]) == 0
    assert Order.next_ids(0) == []


def test_ids_are_taken_in_advance_and_never_twice() -> None:
    first, second = Order.next_ids(3), Order.next_ids(2)

    assert len({*first, *second}) == 5


def test_a_set_is_changed_by_its_key() -> None:
    three_orders()

    class Changed(NamedTuple):
        id: int
        state: OrderState

    changes = [Changed(1, OrderState.HELD), Changed(3, OrderState.SETTLED), Changed(99, OrderState.HELD)]
    assert Order.update_set(changes, priority=5) == 2

    found = rows("SELECT state, priority FROM orders ORDER BY id")
    assert [tuple(row) for row in found] == [("held", 5), ("planned", 0), ("settled", 5)]


def test_a_key_may_be_of_several_columns_and_a_value_an_expression() -> None:
    class Level(NamedTuple):
        sku: str
        location_id: int
        on_hand: int

    (location,) = Location.next_ids(1)
    Location.insert(id=location, code="GEBZE", name="Gebze", type="store", changed_at=NOW).execute()
    Stock.insert_set([Level("LAMP", location, 1), Level("CHAIR", location, 2)], risen_at=NOW)

    changed = Stock.update_set(
        [Level("LAMP", location, 7)], key=("sku", "location_id"), risen_at=fn.clock_timestamp()
    )

    assert changed == 1
    found = rows("SELECT sku, on_hand, risen_at > %s FROM stock ORDER BY sku", (NOW,))
    assert [tuple(row) for row in found] == [("CHAIR", 2, False), ("LAMP", 7, True)]


def test_states_come_back_as_members() -> None:
    three_orders()

    found = fetch(Order.select(Order.id, Order.state).order_by(Order.id), OrderRow)

    assert [row.state for row in found] == [OrderState.WAITING, OrderState.PLANNED, OrderState.PLANNED]
    assert all(isinstance(row.state, OrderState) for row in found)
    assert column(Order.update({Order.priority: 1}).where(Order.id == 1).returning(Order.state)) == [
        OrderState.WAITING
    ]


def test_rows_may_be_dataclasses_and_money_stays_exact() -> None:
    @dataclass(frozen=True)
    class Line:
        sku: str
        price: Decimal

    three_orders()
    OrderItem.insert(order=1, omnitron_id=1, sku="LAMP", quantity=1, status="400", price="10.10").execute()

    assert fetch(OrderItem.select(OrderItem.sku, OrderItem.price), Line) == [Line("LAMP", Decimal("10.10"))]


def test_a_row_that_does_not_suit_its_query_is_refused() -> None:
    with pytest.raises(TypeError, match=r"OrderRow has \['id', 'state'\].*\['id', 'number'\]"):
        fetch(Order.select(Order.id, Order.number), OrderRow)


def test_the_first_row_or_none() -> None:
    query = Order.select(Order.id, Order.state).order_by(Order.id)
    assert fetch_one(query, OrderRow) is None
    assert not exists(query)

    three_orders()
    assert fetch_one(query, OrderRow) == (1, OrderState.WAITING)
    assert exists(query)


@pytest.mark.parametrize(
    ("ids", "within", "without"), [([1, 3], [1, 3], [2]), ([], [], [1, 2, 3]), ([99], [], [1, 2, 3])]
)
def test_many_keys_are_one_parameter(ids: Sequence[int], within: list[int], without: list[int]) -> None:
    three_orders()
    query = Order.select(Order.id).order_by(Order.id)

    assert column(query.where(one_of(Order.id, ids))) == within
    assert column(query.where(none_of(Order.id, ids))) == without
    assert len(query.where(one_of(Order.id, ids)).sql()[1]) == 1


def test_states_stand_in_the_statement_so_that_a_partial_index_serves_it() -> None:
    three_orders()
    query = Order.select(Order.id).order_by(Order.id)

    assert column(query.where(among(Order.state, [OrderState.WAITING]))) == [1]
    assert column(query.where(not_among(Order.state, [OrderState.WAITING]))) == [2, 3]
    assert query.where(among(Order.state, [OrderState.WAITING])).sql()[1] == []


@pytest.mark.parametrize(
    ("field", "stored", "member"),
    [
        (CodeField(PackageState), 920, PackageState.OUT_OF_STOCK),
        (NameField(OrderState), "held", OrderState.HELD),
        (CodeField(PackageState, null=True), None, None),
    ],
)
def test_a_state_is_stored_as_its_value(field: Any, stored: object, member: object) -> None:
    assert field.db_value(member) == stored
    assert field.python_value(stored) is member


def test_a_state_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="921"):
        CodeField(PackageState).db_value(921)


def test_arrays_join_like_a_table() -> None:
    three_orders()
    notes = [(1, "first"), (2, "second"), (9, "none")]
    wanted = Arrays("wanted", {"id": Order.id, "note": AuditEvent.action}, notes)

    query = Order.select(Order.number, wanted.c.note).join(wanted, on=wanted.matches(Order, "id"))

    assert sorted(query.tuples()) == [("1", "first"), ("2", "second")]
