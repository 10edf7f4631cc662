"""What is acknowledged is the version that was stored, whenever the hub changes it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from oms_workers.database import database_now, execute, rows
from oms_workers.orders.client import Omnitron
from oms_workers.orders.pull import pull as pull_orders
from oms_workers.orders.taking import MOST_VERSIONS
from oms_workers.scheduling.run import Run
from tests.orders import hub as faults
from tests.orders.hub import Handler, Hub
from tests.orders.samples import an_order

ITEMS = "/api/v1/order_items/"
Pull = Callable[[], dict[str, int]]
FIRST, SECOND = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"


def skus() -> list[str]:
    return [line.sku for line in rows("SELECT sku FROM order_items ORDER BY omnitron_id")]


def order() -> Any:
    (found,) = rows("SELECT * FROM orders")
    return found


def actions() -> list[str]:
    return [event.action for event in rows("SELECT action FROM audit_events ORDER BY id")]


def once(change: Callable[[], None]) -> Callable[[int], None]:
    """Change the hub's order before the first acknowledgement, and not before the others."""
    done: list[int] = []

    def before(key: int) -> None:
        if not done:
            change()
        done.append(key)

    return before


def test_a_change_before_the_acknowledgement_is_stored(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST))
    hub.before_acknowledge = once(
        lambda: hub.add(an_order(7, skus=("RED-LAMP", "RED-STOOL"), notes="ring", modified_date=SECOND))
    )

    counts = pull()

    assert skus() == ["RED-LAMP", "RED-STOOL"]
    assert (order().payload["notes"], order().modified_at.day) == ("ring", 2)
    assert hub.waiting() == []
    assert (counts["stored"], counts["updated"], counts["acknowledged"]) == (1, 1, 1)


def test_a_change_between_the_list_and_the_items_leaves_no_mixture(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST, channel="web"))

    def change_and_answer(handler: Handler) -> None:
        hub.add(an_order(7, skus=("RED-LAMP",), modified_date=SECOND, channel="mobile"))
        handler.page(hub.items[7], {"limit": "10", "page": "1"})

    hub.fail(ITEMS, change_and_answer)

    pull()

    assert (skus(), order().channel, order().modified_at.day) == (["RED-LAMP"], "mobile", 2)


def test_a_change_of_the_items_alone_is_seen_by_the_order_s_date(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST))

    def change_items() -> None:
        hub.items[7] = an_order(7, skus=("RED-LAMP",))[1]
        hub.change(7, modified_date=SECOND)

    hub.before_acknowledge = once(change_items)

    pull()

    assert skus() == ["RED-LAMP"]


def test_an_order_without_dates_is_compared_by_what_it_holds(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7))
    hub.before_acknowledge = once(lambda: hub.add(an_order(7, skus=("RED-LAMP",))))

    pull()

    assert skus() == ["RED-LAMP"]


def test_a_hub_that_moves_the_date_when_we_acknowledge_costs_one_reading_and_no_event(
    hub: Hub, pull: Pull
) -> None:
    hub.add(an_order(7, modified_date=FIRST))
    hub.before_acknowledge = lambda key: hub.change(key, modified_date=SECOND)

    pull()

    assert [path for method, path, _ in hub.calls if method == "PATCH"] == ["/api/v1/orders/7/"]
    assert len(hub.calls_to(ITEMS)) == 2
    assert actions() == ["received"]


@pytest.mark.parametrize(
    "answer", [b"", b'{"pk": 7}', b"[]", b"null"], ids=["204", "no date", "list", "null"]
)
def test_an_answer_that_says_no_version_lets_the_order_be_read(hub: Hub, pull: Pull, answer: bytes) -> None:
    hub.add(an_order(7, modified_date=FIRST))

    def change_and_say_little(handler: Handler) -> None:
        hub.add(an_order(7, skus=("RED-LAMP",), modified_date=SECOND))
        with hub.lock:
            hub.acknowledged.append(7)
        handler.raw(200 if answer else 204, answer, "application/json")

    hub.fail("/api/v1/orders/7/", change_and_say_little)

    pull()

    assert skus() == ["RED-LAMP"]


def test_an_order_that_changes_each_time_ends_the_pull_and_comes_again(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST))
    days = iter(range(2, 28))

    def change(key: int) -> None:
        day = next(days)
        hub.add(an_order(7, skus=(f"SKU-{day}",), modified_date=f"2026-11-{day:02}T00:00:00Z"))

    hub.before_acknowledge = change

    pull()

    assert len([path for method, path, _ in hub.calls if method == "PATCH"]) == MOST_VERSIONS
    assert skus() == [f"SKU-{MOST_VERSIONS + 1}"]


def test_a_newer_version_that_cannot_be_read_is_asked_for_until_it_can(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST))
    hub.before_acknowledge = once(lambda: hub.add(an_order(7, skus=("RED-LAMP",), modified_date=SECOND)))
    hub.fail("/orders_integration/", faults.status(500), times=1)

    pull()

    # The same pull asks for it by its key, since the hub does not offer it any more.
    assert skus() == ["RED-LAMP"]
    assert rows("SELECT 1 FROM rejected_orders") == []


def test_a_version_that_is_not_approved_any_more_is_held(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST))
    hub.before_acknowledge = once(lambda: hub.change(7, status="100", modified_date=SECOND))

    pull()

    assert (order().state, order().status) == ("held", "100")
    assert actions() == ["received", "held"]


def test_a_date_that_goes_back_is_the_hub_s_word_when_it_is_asked_again(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=SECOND))
    pull()
    hub.acknowledged.clear()
    hub.add(an_order(7, skus=("RED-LAMP",), modified_date=FIRST))

    pull()

    assert (skus(), order().modified_at.day) == (["RED-LAMP"], 1)
    assert hub.waiting() == []


def test_a_list_that_is_behind_does_not_bring_an_old_version_back(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, skus=("RED-LAMP",), modified_date=SECOND))
    pull()
    hub.acknowledged.clear()
    old = {"count": 1, "next": None, "results": [an_order(7, modified_date=FIRST)[0]]}
    hub.fail("/api/i1/orders/?", lambda handler: handler.answer(200, old))

    pull()

    assert (skus(), order().modified_at.day) == (["RED-LAMP"], 2)


def test_a_change_of_the_address_alone_is_stored(hub: Hub, pull: Pull) -> None:
    hub.add(an_order(7, modified_date=FIRST, shipping_address={"city": "Izmir", "country": "TR"}))
    moved = {"city": "Ankara", "country": "TR"}
    hub.before_acknowledge = once(lambda: hub.change(7, modified_date=SECOND, shipping_address=moved))

    pull()

    assert order().payload["shipping_address"]["city"] == "Ankara"


def test_a_change_that_a_stopping_run_cannot_read_is_read_by_the_next(
    hub: Hub, client: Omnitron, db: None
) -> None:
    hub.add(an_order(7, modified_date=FIRST))
    told_to_stop: list[bool] = []

    def change() -> None:
        hub.add(an_order(7, skus=("RED-LAMP",), modified_date=SECOND))
        told_to_stop.append(True)

    hub.before_acknowledge = once(change)
    stopping = Run(database_now(), budget=timedelta(minutes=1), lost=lambda: bool(told_to_stop))
    pull_orders(client, stopping, concurrency=4)
    execute("UPDATE rejected_orders SET next_attempt_at = now()")

    pull_orders(client, Run(database_now(), budget=timedelta(minutes=1)), concurrency=4)

    assert skus() == ["RED-LAMP"]
