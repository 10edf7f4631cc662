"""The pull, over HTTP, from a hub whose pages shift and whose calls fail."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import settings
from oms_workers.broker import stopping
from oms_workers.database import connection, connection_parameters, execute, rows
from oms_workers.orders.client import OmnitronError, OmnitronRefusedError
from tests.orders import hub as faults
from tests.orders.hub import Hub
from tests.orders.samples import an_order

ORDERS, ITEMS = "/api/i1/orders/", "/api/v1/order_items/"
Pull = Callable[[], dict[str, int]]


def stored() -> list[int]:
    return [order.omnitron_id for order in rows("SELECT omnitron_id FROM orders ORDER BY omnitron_id")]


def rejected() -> dict[str, str]:
    return {row.omnitron_id: row.reason for row in rows("SELECT omnitron_id, reason FROM rejected_orders")}


def broken(key: int, **fields: Any) -> tuple[dict[str, Any], list[Any]]:
    return an_order(key, **fields)[0], []


def test_every_order_is_stored_and_acknowledged_once(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 36)))

    counts = pull()

    assert stored() == sorted(hub.acknowledged) == [*range(1, 36)]
    assert (counts["stored"], counts["acknowledged"], counts["failed"]) == (35, 35, 0)


def test_an_order_is_acknowledged_only_after_its_commit(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 15)))
    seen: list[bool] = []

    def look(key: int) -> None:
        with connection():
            seen.append(rows("SELECT 1 FROM orders WHERE omnitron_id = %s", (key,)) != [])

    hub.before_acknowledge = look

    pull()

    assert seen == [True] * 14


def test_good_orders_behind_a_hundred_rejects_are_all_stored(hub: Hub, pull: Pull) -> None:
    hub.add(*(broken(key) for key in range(1, 101)))
    hub.add(*(an_order(key) for key in range(101, 401)))

    counts = pull()

    assert stored() == [*range(101, 401)]
    assert len(rejected()) == 100
    assert counts["rejected"] == 100


def test_pages_that_grow_and_shift_while_we_acknowledge_lose_nothing(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 31)))
    placed = iter(range(1001, 1021))

    def place_another(key: int) -> None:
        with hub.lock:
            another = next(placed, None)
            if another is not None:
                # The newest come first, so that every page moves.
                order, items = an_order(another)
                hub.orders = {another: order, **hub.orders}
                hub.items[another] = items

    hub.before_acknowledge = place_another

    pull()

    assert stored() == [*range(1, 31), *range(1001, 1021)]
    assert hub.waiting() == []


def test_a_reject_is_fetched_again_when_it_was_modified(hub: Hub, pull: Pull) -> None:
    hub.add(broken(7, modified_date="2026-11-01T00:00:00Z"))
    pull()
    pull()
    assert len(hub.calls_to(ITEMS)) == 1
    assert rejected() == {"7": "the order has no items"}

    hub.add(an_order(7, modified_date="2026-11-02T00:00:00Z"))
    pull()

    assert (stored(), rejected(), hub.acknowledged) == ([7], {}, [7])


def test_a_crash_between_commit_and_acknowledgement_is_made_up_for(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date="2026-11-01T00:00:00Z"), an_order(8))
    pull()
    hub.acknowledged.clear()

    counts = pull()

    assert sorted(hub.acknowledged) == [7, 8]
    assert stored() == [7, 8]
    assert counts["stored"] == 0


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop,
        faults.half_a_body,
        faults.html,
        faults.status(429),
        faults.status(500),
        faults.status(404),
    ],
    ids=["drop", "half a body", "HTML", "429", "500", "404"],
)
@pytest.mark.parametrize("path", [f"{ITEMS}?order=7", "/api/v1/orders/7/"], ids=["items", "acknowledge"])
def test_an_order_whose_calls_fail_stops_no_other_and_comes_the_next_time(
    hub: Hub, pull: Pull, path: str, fault: Any
) -> None:
    hub.add(*(an_order(key) for key in range(1, 15)))
    hub.fail(path, fault, times=100)

    first = pull()
    hub.faults.clear()
    second = pull()

    assert first["failed"] >= 1
    assert second["failed"] == 0
    assert stored() == [*range(1, 15)]
    assert sorted(set(hub.acknowledged)) == [*range(1, 15)]


def test_a_list_that_cannot_be_had_is_an_error_and_loses_nothing(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 25)))
    hub.fail("&page=2", faults.status(503), times=5)

    with pytest.raises(OmnitronError, match="answered 503, 5 times"):
        pull()
    pull()

    assert stored() == sorted(hub.acknowledged) == [*range(1, 25)]


def test_credentials_that_are_refused_midway_end_the_pull_at_once(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 101)))
    hub.fail(ITEMS, faults.status(401), times=1000)

    with pytest.raises(OmnitronRefusedError, match="OMNITRON_TOKEN"):
        pull()

    # A few calls were on their way when the first was refused; no more of them follow.
    assert len(hub.calls_to(ITEMS)) <= 4
    assert stored() == []


def test_one_order_that_is_forbidden_stops_no_other(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 31)))
    hub.fail("/api/v1/orders/3/", faults.status(403), times=1000)

    counts = pull()

    assert stored() == [*range(1, 31)]
    assert len(set(hub.acknowledged)) == 29
    assert counts["failed"] >= 1


def test_a_hub_that_takes_acknowledgements_and_forgets_them_ends_the_pull(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 4)))
    hub.fail("/api/v1/orders/", faults.body("{}"), times=1000)

    pull()

    assert stored() == [1, 2, 3]
    assert len(hub.calls_to(ORDERS)) == 2


def test_odd_orders_stop_nothing(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(1), an_order(2, notes="\0"), an_order(3, notes="\ud83d"), broken(4))
    hub.add((an_order(5)[0], [{**an_order(5)[1][0], "product": {"name": "no sku"}}]))
    hub.add(an_order(6))
    hub.orders |= {10**30: {"pk": 10**30}, -1: {"number": "no key"}, -2: None, -3: [7]}

    pull()

    assert stored() == sorted(hub.acknowledged) == [1, 6]
    assert len(rejected()) == 8
    assert all(rejected().values())


def test_an_empty_hub_costs_one_call(hub: Hub, pull: Pull) -> None:
    pull()

    assert [path for _, path, _ in hub.calls] == [ORDERS]


def test_told_to_stop_it_ends_at_a_page_s_end(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 101)))
    hub.before_acknowledge = lambda key: stopping.set()
    try:
        counts = pull()
    finally:
        stopping.clear()

    assert counts["pages"] == 1
    assert len(stored()) == 10
    # What was stored and could not be acknowledged any more is offered again.
    assert set(hub.acknowledged) <= set(stored())


@pytest.mark.parametrize("location", ["http://[", "\xff"])
def test_an_answer_that_the_library_chokes_on_stops_no_other_order(
    hub: Hub, pull: Pull, location: str
) -> None:
    hub.add(*(an_order(key) for key in range(1, 15)))
    hub.fail(f"{ITEMS}?order=2&", faults.status(302, Location=location), times=100)

    counts = pull()

    assert stored() == [1, *range(3, 15)]
    assert counts["failed"] >= 1
    assert "its items cannot be fetched" in rejected()["2"]

    hub.faults.clear()
    pull()
    assert 2 in stored()
    assert rejected() == {}


def test_an_order_that_somebody_holds_stops_no_other(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 5)))
    pull()
    hub.acknowledged.clear()
    for key in hub.orders:
        hub.orders[key] = {**hub.orders[key], "modified_date": "2026-11-02T00:00:00Z"}
    execute("SET lock_timeout = '50ms'")
    try:
        with psycopg.connect(**connection_parameters(settings.current())) as other:
            other.execute("SELECT 1 FROM orders WHERE omnitron_id = 2 FOR UPDATE")
            counts = pull()
    finally:
        execute("SET lock_timeout = '10s'")

    assert sorted(hub.acknowledged) == [1, 3, 4]
    assert counts["updated"] == 3


def test_a_list_without_end_is_an_error_after_what_it_holds(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(1))
    page = {"count": 1, "next": "x", "previous": None, "results": [hub.orders[1]]}
    hub.fail(ORDERS, lambda handler: handler.answer(200, page), times=100)

    with pytest.raises(OmnitronError, match="has no end: page 2"):
        pull()

    assert stored() == [1]
    assert len(hub.calls_to(ORDERS)) == 2


@pytest.mark.parametrize("text", ['"\xe7"', "9" * 5_000])
def test_what_one_order_holds_makes_no_page_unreadable(hub: Hub, pull: Pull, text: str) -> None:
    hub.add(*(an_order(key) for key in (1, 2, 3)))
    whole = json.dumps({"next": None, "results": [*hub.orders.values()]})
    body = whole.replace('"number": "2"', f'"number": "2", "notes": {text}').encode("latin-1")
    hub.fail(ORDERS, lambda handler: handler.raw(200, body, "application/json"))

    pull()

    assert {1, 3} <= {*stored()}
    assert {str(key) for key in stored()} | {*rejected()} == {"1", "2", "3"}


@pytest.mark.parametrize("key", ["5", 5.0])
def test_a_key_is_a_key_however_it_is_written(hub: Hub, pull: Pull, key: Any) -> None:
    order, items = an_order(5)
    hub.add((order, items))
    hub.orders[5] = {**order, "pk": key}

    pull()

    assert stored() == [5]
    assert hub.acknowledged == [5]


def test_lines_of_another_order_are_refused(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(1), an_order(2))
    hub.items[2] = [*hub.items[2], *hub.items[1]]

    pull()

    assert stored() == [1]
    assert rejected() == {"2": "item 101 belongs to another order"}


def test_a_reject_that_comes_back_as_it_was_stored_is_none_any_more(hub: Hub, pull: Pull) -> None:
    good = an_order(1, modified_date="2026-11-01T00:00:00Z")
    hub.add(good)
    pull()
    hub.acknowledged.clear()
    hub.orders[1] = {**good[0], "number": "", "modified_date": "2026-11-02T00:00:00Z"}
    pull()
    assert [*rejected()] == ["1"]

    hub.orders[1] = good[0]
    pull()

    assert rejected() == {}
