"""`oms rejects`: what could not come in is listed, tried again now, or dismissed with a reason."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from oms_workers.database import execute, rows
from tests.orders import hub as faults
from tests.orders.hub import TOKEN, Hub, serve
from tests.orders.samples import an_order, store_orders

DATED = {"modified_date": "2026-11-01T00:00:00Z"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the settings lead to."""
    with serve(Hub()) as running:
        monkeypatch.setenv("OMNITRON_URL", running.url)
        monkeypatch.setenv("OMNITRON_TOKEN", TOKEN)
        yield running


def rejected(*keys: int) -> None:
    for key in keys:
        store_orders((an_order(key, **{**DATED, "number": f"A-{key}"})[0], []))


def listed(oms: Any, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(oms("rejects", "--json", *arguments).output)["rejects"]
    return found


def test_rejects_are_listed_the_oldest_first_with_the_reason_and_the_next_try(oms) -> None:
    rejected(8, 7)

    found = listed(oms)
    said = oms("rejects").output

    assert [(each["omnitron_id"], each["number"]) for each in found] == [("8", "A-8"), ("7", "A-7")]
    assert [(each["attempts"], each["reason"]) for each in found] == [(1, "the order has no items")] * 2
    assert found[0]["next_attempt_at"] > found[0]["last_attempt_at"]
    assert "the order has no items" in said
    assert re.search(r"in \d", said)
    assert "and 1 more" in oms("rejects", "--limit", "1").output


def test_without_rejects_it_says_so(oms) -> None:
    assert oms("rejects").output == "There are no such rejects.\n"


@pytest.mark.parametrize("name", ["7", "A-7"])
def test_one_is_tried_again_now(oms, hub: Hub, name: str) -> None:
    rejected(7, 8)
    hub.add(an_order(7, **DATED))

    ended = oms("rejects", "--retry", name)

    assert (ended.exit_code, ended.output) == (0, "Order 7 is stored.\n")
    assert rows("SELECT omnitron_id, state FROM orders") == [(7, "waiting")]
    assert hub.acknowledged == [7]
    assert [each["omnitron_id"] for each in listed(oms)] == ["8"]


def test_one_that_is_still_no_order_stays_with_the_reason_of_now(oms, hub: Hub) -> None:
    rejected(7)
    order, items = an_order(7, **DATED)
    hub.add((order, [{**items[0], "product": {}}]))

    ended = oms("rejects", "--retry", "7")

    assert ended.exit_code == 1
    assert "Order 7 stays rejected: the item cannot be read: product.sku" in ended.output


def test_one_that_is_cancelled_in_the_hub_is_none_any_more(oms, hub: Hub) -> None:
    rejected(7, 8)
    hub.add(an_order(7, status="100"))

    ended = oms("rejects", "--retry", "7", "--retry", "8", "--json")

    assert ended.exit_code == 0
    became = {each["omnitron_id"]: each["became"] for each in json.loads(ended.output)["rejects"]}
    assert became == {"7": "gone", "8": "gone"}
    assert listed(oms) == []


def test_a_hub_that_does_not_answer_leaves_it_as_it_was(oms, hub: Hub) -> None:
    rejected(7)
    hub.fail("/orders_integration/", faults.status(500), times=9)

    ended = oms("rejects", "--retry", "7")

    assert ended.exit_code == 1
    assert "Order 7 stays rejected: GET /api/i1/orders_integration/7/" in ended.output
    assert [each["reason"] for each in listed(oms)] == ["the order has no items"]


def test_one_that_somebody_else_has_acknowledged_is_taken_when_a_person_says_so(oms, hub: Hub) -> None:
    rejected(7)
    hub.add(an_order(7, **DATED))
    hub.acknowledged.append(7)

    assert oms("rejects", "--retry", "7").exit_code == 0

    assert rows("SELECT omnitron_id FROM orders") == [(7,)]


def test_one_without_a_key_is_left_to_the_next_pull(oms, hub: Hub) -> None:
    store_orders(({"number": "A-1"}, []))

    ended = oms("rejects", "--retry", "A-1")

    assert "it has no key to ask for; the next pull tries it" in ended.output
    assert rows("SELECT 1 FROM rejected_orders WHERE next_attempt_at <= now()") == [(1,)]


def test_one_is_dismissed_with_a_reason_and_can_be_taken_up_again(oms, hub: Hub) -> None:
    rejected(7, 8)

    ended = oms("rejects", "--dismiss", "A-7", "--reason", "a test order")

    assert (ended.exit_code, ended.output) == (0, "Order 7 is dismissed.\n")
    assert [each["omnitron_id"] for each in listed(oms)] == ["8"]
    (dismissed,) = listed(oms, "--dismissed")
    assert (dismissed["omnitron_id"], dismissed["dismissed_reason"]) == ("7", "a test order")
    assert dismissed["dismissed_by"].startswith("operator:")
    assert "a test order, says operator" in oms("rejects", "--dismissed").output
    waiting = json.loads(oms("status", "--json").output)["backlog"]
    assert [line["count"] for line in waiting if line["state"] == "orders rejected"] == [1]

    hub.add(an_order(7, **DATED))
    assert oms("rejects", "--retry", "7").exit_code == 0
    assert rows("SELECT omnitron_id FROM orders") == [(7,)]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--dismiss", "7"], "--dismiss needs --reason"),
        (["--dismiss", "7", "--reason", " "], "--reason is empty"),
        (["--reason", "x"], "no order is dismissed"),
        (["--retry", "7", "--dismiss", "8", "--reason", "x"], "are two things"),
        (["--retry", ""], "ORDER is empty"),
        (["--retry", "7", "--dismissed"], "are for the list"),
    ],
)
def test_a_wrong_argument_ends_with_status_2(oms, arguments: list[str], problem: str) -> None:
    rejected(7)

    ended = oms("rejects", *arguments)

    assert ended.exit_code == 2
    assert problem in " ".join(ended.output.replace("│", " ").split())
    assert rows("SELECT attempts FROM rejected_orders WHERE dismissed_at IS NULL") == [(1,)]


def test_a_name_that_is_no_reject_or_several_is_refused(oms, hub: Hub) -> None:
    rejected(7, 8)
    execute("UPDATE rejected_orders SET number = 'A'")

    unknown = oms("rejects", "--retry", "404")
    several = oms("rejects", "--dismiss", "A", "--reason", "x")

    assert "No order '404' is rejected" in str(unknown.exception)
    assert "2 rejected orders have the number 'A'; give a key: 7, 8." in str(several.exception)
