"""One order that breaks its page stops no other, and lists that are odd in other ways are read."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from oms_workers.database import rows
from oms_workers.orders import transport
from oms_workers.orders.client import Omnitron, OmnitronError
from oms_workers.orders.pages import MOST_FAILURES, PROBES
from tests.orders.hub import Handler, Hub
from tests.orders.samples import an_order

ORDERS = "/api/i1/orders/"
Pull = Callable[[], dict[str, int]]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the hub answer 500 for each page that holds one of these orders."""
    whole = Handler.page

    def break_on(*keys: int) -> None:
        def page(self: Handler, found: list[Any], parameters: dict[str, str]) -> None:
            limit, number = int(parameters["limit"]), int(parameters["page"])
            shown = found[(number - 1) * limit : number * limit]
            if any(each["pk"] in keys for each in shown if "number" in each):
                self.answer(500, {"detail": "Server Error (500)"})
            else:
                whole(self, found, parameters)

        monkeypatch.setattr(Handler, "page", page)

    return break_on


def stored() -> set[int]:
    return {order.omnitron_id for order in rows("SELECT omnitron_id FROM orders")}


def rejected() -> dict[str, str]:
    return {row.omnitron_id: row.reason for row in rows("SELECT omnitron_id, reason FROM rejected_orders")}


@pytest.mark.parametrize("broken", [(1,), (10,), (7, 8), (13,), (25,), (1, 13, 25), (4, 5, 6, 21)])
def test_the_order_that_breaks_its_page_is_kept_and_the_rest_goes_on(
    hub: Hub, pull: Pull, breaking: Callable[..., None], broken: tuple[int, ...]
) -> None:
    hub.add(*(an_order(key) for key in range(1, 26)))
    breaking(*broken)

    pull()

    assert stored() == {*range(1, 26)} - {*broken}
    assert [*rejected()] == [f"unread:{n}" for n in range(1, len(broken) + 1)]
    assert all("answered 500" in reason for reason in rejected().values())


def test_an_order_that_breaks_its_page_is_one_reject_and_goes_when_it_is_mended(
    hub: Hub, pull: Pull, breaking: Callable[..., None]
) -> None:
    hub.add(*(an_order(key) for key in range(1, 6)))
    breaking(3)
    for _ in range(3):
        pull()
    assert [*rejected()] == ["unread:1"]

    breaking()
    pull()

    assert (stored(), rejected()) == ({1, 2, 3, 4, 5}, {})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
def test_a_page_of_any_size_is_parted(
    hub: Hub,
    client: Omnitron,
    pull: Pull,
    breaking: Callable[..., None],
    size: int,
) -> None:
    client.page_size = size
    hub.add(*(an_order(key) for key in range(1, 16)))
    breaking(2, 9)

    pull()

    assert stored() == {*range(1, 16)} - {2, 9}


def test_a_hub_that_answers_every_page_with_500_fails_and_rejects_nothing(
    hub: Hub, pull: Pull, breaking: Callable[..., None]
) -> None:
    hub.add(*(an_order(key) for key in range(1, 101)))
    breaking(*range(1, 101))

    with pytest.raises(OmnitronError, match="answered 500"):
        pull()

    assert rejected() == {}
    assert len(hub.calls_to(ORDERS)) <= 1 + MOST_FAILURES + len(PROBES)


def test_one_order_that_makes_its_page_too_large_is_kept(
    hub: Hub, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 4_000)
    hub.add(*(an_order(key, notes="x" * (5_000 if key == 3 else 100)) for key in range(1, 8)))

    pull()

    assert stored() == {1, 2, 4, 5, 6, 7}
    assert "more than 4000 bytes" in rejected()["unread:1"]


@pytest.mark.parametrize("depth", [300, 100_000])
def test_one_order_that_is_nested_too_deeply_is_kept(hub: Hub, pull: Pull, depth: int) -> None:
    hub.add(*(an_order(key) for key in range(1, 8)))

    def answer(handler: Handler) -> None:
        page = [*hub.waiting()]
        limit = int(handler.path.partition("limit=")[2].partition("&")[0])
        start = (int(handler.path.partition("page=")[2].partition("&")[0]) - 1) * limit
        texts = [json.dumps(order) for order in page[start : start + limit]]
        nested = f'"notes": {"[" * depth}{"]" * depth}'
        texts = [text.replace('"pk": 3,', f'"pk": 3, {nested},') for text in texts]
        handler.raw(200, f'{{"next": null, "results": [{",".join(texts)}]}}'.encode(), "application/json")

    hub.fail(f"{ORDERS}?", answer, times=1_000)

    pull()

    assert stored() == {1, 2, 4, 5, 6, 7}
    (reason,) = rejected().values()
    assert "nested" in reason


def test_an_empty_page_that_names_a_next_one_ends_no_walk(hub: Hub, pull: Pull) -> None:
    hub.add(*(an_order(key) for key in range(1, 15)))
    empty = {"count": 14, "next": "x", "previous": None, "results": []}
    hub.fail(f"{ORDERS}?status=400&is_send=false&limit=10&page=1", lambda handler: handler.answer(200, empty))

    pull()

    assert stored() == {*range(1, 15)}


def test_empty_pages_without_end_are_an_error(hub: Hub, pull: Pull) -> None:
    empty = {"count": 14, "next": "x", "previous": None, "results": []}
    hub.fail(ORDERS, lambda handler: handler.answer(200, empty), times=1_000)

    with pytest.raises(OmnitronError, match="has no end"):
        pull()
