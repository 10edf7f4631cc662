"""The one door: what it lets through, what it writes, and whom it tells."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from oms_workers.audit_events import door as door_module
from oms_workers.audit_events.door import Change, Door, Event, ListenerError, TransitionError, listen
from oms_workers.database import connection, rows, transaction
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.states import ORDER
from tests import proof
from tests.orders.samples import an_order, store_orders

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WAITING, PLANNED, HELD, SETTLED = OrderState


@pytest.fixture(autouse=True)
def two_orders(db: None) -> None:
    store_orders(an_order(7), an_order(8))


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Only the test's own listeners, and none afterwards."""
    mine: list[object] = []
    monkeypatch.setattr(door_module, "_listeners", mine)
    yield mine


def states() -> list[tuple[str, int]]:
    return [tuple(row) for row in rows("SELECT state, plan_version FROM orders ORDER BY id")]


def events() -> list[tuple[object, ...]]:
    found = rows("SELECT object_id, action, content FROM audit_events WHERE at = %s ORDER BY id", (NOW,))
    return [tuple(row) for row in found]


def test_a_set_of_changes_moves_states_and_versions_and_leaves_an_event_each() -> None:
    changes = [
        Change(1, WAITING, PLANNED, "planned", {"plan": 5}),
        Change(2, WAITING, HELD, "held", {"reason": "look"}, version=0),
    ]

    with transaction(), Door("tests", NOW) as door:
        door.change(ORDER, changes)

    assert states() == [("planned", 1), ("held", 1)]
    assert events() == [
        (1, "planned", {"before": "waiting", "after": "planned", "plan": 5}),
        (2, "held", {"before": "waiting", "after": "held", "reason": "look"}),
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (Change(2, WAITING, WAITING, "touched", version=3), "changed in the meantime"),  # another version
        (Change(2, HELD, WAITING, "released"), "changed in the meantime"),  # another state
        (Change(2, PLANNED, HELD, "held"), "order 2 cannot go from planned to held"),  # does not follow
        (Change(9, WAITING, PLANNED, "planned"), "changed in the meantime"),  # no such order
    ],
)
def test_one_change_that_cannot_be_lets_none_of_its_set_through(change: Change, problem: str) -> None:
    with pytest.raises(TransitionError, match=problem), transaction(), Door("tests", NOW) as door:
        door.change(ORDER, [Change(1, WAITING, PLANNED, "planned"), change])

    assert states() == [("waiting", 0), ("waiting", 0)]
    assert events() == []


def test_what_changes_without_a_change_of_state_moves_the_version() -> None:
    with transaction(), Door("tests", NOW) as door:
        door.change(ORDER, [Change(1, WAITING, WAITING, "lines_replaced")])
        door.note(ORDER, 2, "updated", {"by": "hub"})

    assert states() == [("waiting", 1), ("waiting", 0)]
    assert [event[:2] for event in events()] == [(1, "lines_replaced"), (2, "updated")]


def test_nothing_to_change_leaves_no_event() -> None:
    with transaction(), Door("tests", NOW) as door:
        door.change(ORDER, [])

    assert events() == []


def test_nothing_begins_in_the_middle() -> None:
    class NewOrder(tuple[int]):
        state = SETTLED

    with pytest.raises(TransitionError, match="No order begins as settled"), Door("tests", NOW) as door:
        door.create(ORDER, [NewOrder()])


def test_listeners_are_told_once_a_block_when_all_of_it_is_written(listeners: list[object]) -> None:
    told: list[list[tuple[int, object, object]]] = []

    def listener(door: Door, events: Sequence[Event]) -> None:
        assert [state for state, _ in states()] == ["planned", "held"]
        assert (door.actor, door.at) == ("tests", NOW)
        told.append([(event.id, event.before, event.after) for event in events])

    listen(listener)
    with transaction(), Door("tests", NOW) as door:
        door.change(ORDER, [Change(1, WAITING, PLANNED, "planned")])
        door.change(ORDER, [Change(2, WAITING, HELD, "held")])

    assert told == [[(1, WAITING, PLANNED), (2, WAITING, HELD)]]


def test_what_a_listener_changes_is_told_in_a_second_round(listeners: list[object]) -> None:
    told: list[list[str]] = []

    def settle(door: Door, events: Sequence[Event]) -> None:
        told.append([event.action for event in events])
        planned = [event.id for event in events if event.after is PLANNED]
        door.change(ORDER, [Change(id_, PLANNED, SETTLED, "settled") for id_ in planned])

    listen(settle)
    with transaction(), Door("tests", NOW) as door:
        door.change(ORDER, [Change(1, WAITING, PLANNED, "planned")])

    assert told == [["planned"], ["settled"]]
    assert states()[0] == ("settled", 2)


def test_a_listener_that_fails_takes_the_change_with_it(listeners: list[object]) -> None:
    def fail(door: Door, events: Sequence[Event]) -> None:
        raise ZeroDivisionError

    listen(fail)
    with pytest.raises(ZeroDivisionError), transaction(), Door("tests", NOW) as door:
        door.change(ORDER, [Change(1, WAITING, PLANNED, "planned")])

    assert states()[0] == ("waiting", 0)
    assert events() == []


def test_nobody_is_told_of_a_block_that_failed(listeners: list[object]) -> None:
    listen(lambda door, events: pytest.fail("it was told"))

    with pytest.raises(ZeroDivisionError), transaction(), Door("tests", NOW) as door:
        door.note(ORDER, 1, "updated", {})
        raise ZeroDivisionError


def test_a_listener_is_registered_once(listeners: list[object]) -> None:
    def listener(door: Door, events: Sequence[Event]) -> None: ...

    listen(listener)
    with pytest.raises(ListenerError, match="registered twice"):
        listen(listener)


def test_the_proof_sees_a_state_that_is_written_beside_the_door() -> None:
    """The triggers that watch every test of this suite would miss nothing that matters."""
    assert proof.states_without_event() == []

    with connection():
        Order.update({Order.state: PLANNED}).where(Order.id == 1).execute()

    (found,) = proof.states_without_event()
    assert (found.subject, found.id, found.state) == ("order", 1, "planned")
    proof.forget()


def test_listeners_that_answer_one_another_without_end_are_stopped(listeners: list[object]) -> None:
    listen(lambda door, events: door.note(ORDER, 1, "again", {}))

    with pytest.raises(ListenerError, match="10 rounds"), transaction(), Door("tests", NOW) as door:
        door.note(ORDER, 1, "begun", {})

    assert events() == []
