"""Rejected orders are tried again with growing pauses, until they come in, end, or are dismissed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oms_workers.database import execute, rows
from oms_workers.orders.rejections import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    UNREAD,
    Reject,
    dismiss,
    pause_after,
    reject,
)
from tests.orders import hub as faults
from tests.orders.hub import Hub
from tests.orders.samples import an_order

ITEMS = "/api/v1/order_items/"
Pull = Callable[[], dict[str, int]]
DATED = {"modified_date": "2026-11-01T00:00:00Z"}


def stored() -> list[int]:
    return [order.omnitron_id for order in rows("SELECT omnitron_id FROM orders ORDER BY omnitron_id")]


def rejects() -> dict[str, Any]:
    return {row.omnitron_id: row for row in rows("SELECT * FROM rejected_orders ORDER BY id")}


def later(by: timedelta) -> None:
    """Let the rejects be so much older."""
    execute("UPDATE rejected_orders SET next_attempt_at = next_attempt_at - %s", (by,))


def without_items(key: int, **fields: Any) -> tuple[dict[str, Any], list[Any]]:
    return an_order(key, **{**DATED, **fields})[0], []


def test_items_that_come_after_their_order_are_found_though_its_date_stands_still(
    hub: Hub, pull: Pull
) -> None:
    hub.add(without_items(7))
    pull()
    hub.add(an_order(7, **DATED))

    pull()
    assert stored() == []
    later(FIRST_PAUSE)
    pull()

    assert (stored(), rejects(), hub.acknowledged) == ([7], {}, [7])


def test_each_try_of_a_version_doubles_the_pause(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    pauses = []
    for _ in range(9):
        pull()
        kept = rejects()["7"]
        pauses.append(kept.next_attempt_at - kept.last_seen_at)
        later(LONGEST_PAUSE)

    assert pauses == [pause_after(attempts) for attempts in range(1, 10)]
    assert (pauses[0], pauses[1], pauses[-1]) == (FIRST_PAUSE, 2 * FIRST_PAUSE, timedelta(hours=1))
    assert len(hub.calls_to(ITEMS)) == 9


def test_another_version_begins_with_a_short_pause_again(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    for _ in range(4):
        pull()
        later(LONGEST_PAUSE)
    hub.add(without_items(7, modified_date="2026-11-02T00:00:00Z"))

    pull()

    assert rejects()["7"].attempts == 1


@pytest.mark.parametrize("after", ["cancelled", "refunded", "deleted"])
def test_a_reject_whose_order_ends_in_the_hub_goes_by_itself(hub: Hub, pull: Pull, after: str) -> None:
    hub.add(without_items(7), without_items(8))
    pull()
    if after == "deleted":
        del hub.orders[7]
    else:
        hub.change(7, status={"cancelled": "100", "refunded": "600"}[after])
    pull()
    assert [*rejects()] == ["7", "8"]

    later(FIRST_PAUSE)
    pull()

    assert [*rejects()] == ["8"]
    assert stored() == []


def test_a_reject_that_is_not_offered_any_more_and_lives_stays_with_its_reason(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    pull()
    hub.add(an_order(7, status="350", **DATED))
    later(FIRST_PAUSE)

    pull()

    assert stored() == []
    assert "its status in Omnitron is 350 (confirmation_waiting)" in rejects()["7"].reason


def test_a_hub_that_does_not_know_the_call_for_one_order_loses_no_reject(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    pull()
    hub.change(7, status="100")
    hub.fail("/orders_integration/", lambda handler: handler.raw(404, b"<html>", "text/html"), times=10)
    later(FIRST_PAUSE)

    pull()

    reject = rejects()["7"]
    assert (reject.reason, reject.attempts) == ("the order has no items", 2)
    assert reject.next_attempt_at > datetime.now(UTC)


def test_a_reject_that_somebody_else_has_acknowledged_is_not_taken_from_them(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    pull()
    hub.add(an_order(7, **DATED))
    hub.acknowledged.append(7)
    later(FIRST_PAUSE)

    pull()

    assert stored() == []
    assert "somebody has acknowledged it already" in rejects()["7"].reason


def test_an_order_without_a_key_is_one_reject_however_often_it_is_offered(hub: Hub, pull: Pull) -> None:
    for n in range(3):
        hub.orders = {-1: {"number": "A-1", "amount": f"{n}.00"}, -2: {"notes": "x", "modified_date": str(n)}}
        pull()

    assert {key.partition(":")[0] for key in rejects()} == {"number", "sha256"}
    assert len(rejects()) == 2


def test_an_order_without_a_key_goes_when_the_hub_does_not_offer_it_any_more(hub: Hub, pull: Pull) -> None:
    hub.orders = {-1: {"notes": "first"}, 7: without_items(7)[0]}
    pull()
    hub.orders[-1] = {"notes": "second"}

    pull()

    assert len(rejects()) == 2
    assert [each.reason[:5] for each in rejects().values()] == ["the o", "the o"]
    del hub.orders[-1]
    pull()
    assert [*rejects()] == ["7"]


def test_what_is_dismissed_is_tried_again_only_when_it_is_modified(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    pull()
    dismiss(["7"], by="someone", reason="a test order", now=datetime.now(UTC))
    hub.add(an_order(7, **DATED))
    later(LONGEST_PAUSE)

    pull()
    assert (stored(), [*rejects()]) == ([], ["7"])
    hub.change(7, modified_date="2026-11-02T00:00:00Z")
    pull()

    assert (stored(), rejects()) == ([7], {})


def test_what_is_dismissed_and_not_offered_any_more_goes_when_it_is_cancelled(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7), without_items(8))
    pull()
    dismiss(["7", "8"], by="someone", reason="test orders", now=datetime.now(UTC))
    hub.change(7, status="100")
    hub.change(8, status="200")
    later(LONGEST_PAUSE)

    pull()

    assert [*rejects()] == ["8"]
    assert rejects()["8"].dismissed_reason == "test orders"


def test_items_that_cannot_be_fetched_are_tried_at_each_pull_and_then_less_often(
    hub: Hub, pull: Pull
) -> None:
    hub.add(an_order(7, **DATED))
    hub.fail(ITEMS, faults.status(500), times=1_000)

    for _ in range(12):
        pull()

    # Each of the first pulls reads it; then it waits as other rejects do.
    assert len(hub.calls_to(ITEMS)) == 5
    hub.faults.clear()
    later(FIRST_PAUSE)
    pull()
    assert (stored(), rejects()) == ([7], {})


def test_one_pull_asks_for_so_many_rejects_that_are_not_offered(
    hub: Hub, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms_workers.orders.asking.MOST_ASKED_FOR", 3)
    hub.add(*(without_items(key) for key in range(1, 8)))
    pull()
    for key in range(1, 8):
        hub.change(key, status="100")
    later(FIRST_PAUSE)

    left = []
    for _ in range(3):
        pull()
        left.append(len(rejects()))

    assert left == [4, 1, 0]


def test_a_dismissal_is_kept_for_as_long_as_the_hub_offers_the_order(hub: Hub, pull: Pull) -> None:
    hub.add(without_items(7))
    pull()
    dismiss(["7"], by="tests", reason="a test order", now=datetime.now(UTC))
    execute("UPDATE rejected_orders SET last_seen_at = now() - interval '91 days'")

    pull()

    kept = rejects()["7"]
    assert kept.dismissed_at is not None
    assert datetime.now(UTC) - kept.last_seen_at < timedelta(hours=1)


def test_what_has_no_key_hands_its_dismissal_to_no_other_order(db: None) -> None:
    now = datetime.now(UTC)
    first = Reject(None, [], "it is number 1 of Omnitron's list", key=f"{UNREAD}1")
    reject([first], now=now)
    dismiss([f"{UNREAD}1"], by="tests", reason="known", now=now)

    reject([first], now=now)

    assert rejects()[f"{UNREAD}1"].dismissed_at is None
