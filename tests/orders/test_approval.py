"""Only what Omnitron has approved is planned; the rest is kept, with its reason."""

from collections.abc import Callable
from typing import Any

import pytest

from oms_workers.database import execute, rows
from oms_workers.orders.held_orders import NotHeldError, release_all_held, release_order
from oms_workers.orders.rejections import FIRST_PAUSE
from oms_workers.packages.models import PackageState
from tests.fulfilment.samples import load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, packages, plan_all, replan, set_stock
from tests.orders.hub import Hub
from tests.orders.samples import Sample, an_order, store_orders

Pull = Callable[[], dict[str, int]]
LATER = {"modified_date": "2026-11-02T00:00:00Z"}


def merchant() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 9, ("LAMP", "GEBZE"): 9}, GREEDY)


def with_statuses(key: int, *statuses: str, **fields: Any) -> Sample:
    """An order of chairs, whose items have these statuses."""
    order, items = an_order(key, skus=("CHAIR",) * len(statuses), **fields)
    return order, [{**item, "status": status} for item, status in zip(items, statuses, strict=True)]


def planned() -> list[int]:
    """The keys of the lines that are in packages."""
    found = rows(
        "SELECT omnitron_id FROM package_items JOIN order_items ON order_items.id = order_item_id ORDER BY 1"
    )
    return [line.omnitron_id for line in found]


def reasons() -> dict[str, str]:
    return {row.omnitron_id: row.reason for row in rows("SELECT omnitron_id, reason FROM rejected_orders")}


def states() -> dict[int, str]:
    return {row.omnitron_id: row.state for row in rows("SELECT omnitron_id, state FROM orders")}


@pytest.mark.parametrize("status", ["50", "100", "200", "300", "350", "450", "500", "550", "600", "999"])
def test_an_order_that_is_offered_without_being_approved_is_kept_with_its_reason(
    hub: Hub, pull: Pull, status: str
) -> None:
    merchant()
    hub.heeds_status = False
    hub.add(with_statuses(7, "400", status=status), with_statuses(8, "400"))

    pull()
    plan_all()

    assert (planned(), hub.acknowledged) == ([801], [8])
    assert f"its status in Omnitron is {status!r}" in reasons()["7"] or f"is {status} (" in reasons()["7"]


def test_an_order_that_is_approved_later_comes_in(hub: Hub, pull: Pull) -> None:
    hub.heeds_status = False
    hub.add(with_statuses(7, "400", status="350", modified_date="2026-11-01"))
    pull()
    hub.change(7, status="400", **LATER)

    pull()

    assert (states(), reasons(), hub.acknowledged) == ({7: "waiting"}, {}, [7])


def test_of_an_order_only_the_approved_items_are_planned(db: None) -> None:
    merchant()
    store_orders(with_statuses(7, "400", "500", "510", "550", "200", "350", "100", "450", "400"))

    plan_all()

    assert planned() == [701, 709]
    (event,) = rows("SELECT content FROM audit_events WHERE action = 'received'")
    said = event.content["not_planned"]
    assert len(said) == 7
    assert "CHAIR is 350 (confirmation_waiting) in Omnitron, and is not planned" in said
    assert rows("SELECT status FROM order_items WHERE omnitron_id = 702") == [("500",)]


@pytest.mark.parametrize("statuses", [("350",), ("500", "550"), ("100", "100"), ("350", "500")])
def test_an_order_none_of_whose_items_is_approved_is_kept_with_its_reason(
    hub: Hub, pull: Pull, statuses: tuple[str, ...]
) -> None:
    hub.add(with_statuses(7, *statuses))

    pull()

    assert (states(), hub.acknowledged) == ({}, [])
    assert reasons()["7"].startswith("none of its items is 400 (approved) in Omnitron: they are")


def test_an_order_whose_items_are_paid_later_comes_in_though_its_date_stands_still(
    hub: Hub, pull: Pull
) -> None:
    hub.add(with_statuses(7, "350", **LATER))
    pull()
    hub.add(with_statuses(7, "400", **LATER))
    execute("UPDATE rejected_orders SET next_attempt_at = next_attempt_at - %s", (FIRST_PAUSE,))

    pull()

    assert states() == {7: "waiting"}


@pytest.mark.parametrize(
    "change", [with_statuses(7, "400", status="100", **LATER), with_statuses(7, "350", **LATER)]
)
def test_a_waiting_order_that_is_not_approved_any_more_is_held_until_it_is(db: None, change: Sample) -> None:
    merchant()
    store_orders(with_statuses(7, "400"))

    store_orders(change)
    plan_all()
    assert (states(), planned()) == ({7: "held"}, [])
    (event,) = rows("SELECT content FROM audit_events WHERE action = 'held'")
    assert "in Omnitron" in event.content["reason"]

    store_orders(with_statuses(7, "400", modified_date="2026-11-03T00:00:00Z"))
    plan_all()
    assert (states(), planned()) == ({7: "planned"}, [701])


@pytest.mark.parametrize(
    "change", [with_statuses(7, "400", status="350", **LATER), with_statuses(7, "350", **LATER)]
)
def test_what_omnitron_does_not_approve_cannot_be_released(db: None, change: Sample) -> None:
    store_orders(with_statuses(7, "400"))
    store_orders(change)

    with pytest.raises(NotHeldError, match=r"waits for Omnitron: .*350"):
        release_order("7", actor="someone")
    assert release_all_held(actor="someone", reason="now") == 0
    assert states() == {7: "held"}


def test_an_item_that_is_paid_after_its_order_was_planned_is_shown(db: None) -> None:
    merchant()
    store_orders(with_statuses(7, "400", "350"))
    plan_all()

    store_orders(with_statuses(7, "400", "400", **LATER))

    assert planned() == [701]
    (order,) = rows("SELECT line_changes FROM orders")
    assert [line["status"] for line in order.line_changes] == ["400", "400"]


def test_the_hub_s_progress_of_a_planned_order_changes_no_state(db: None) -> None:
    merchant()
    store_orders(with_statuses(7, "400"))
    plan_all()

    store_orders(with_statuses(7, "510", status="510", **LATER))

    assert states() == {7: "planned"}
    assert rows("SELECT line_changes FROM orders") == [(None,)]


@pytest.mark.parametrize(("status", "is_planned"), [("400", True), ("450", True), ("510", False)])
def test_what_was_sent_is_not_planned_again(db: None, status: str, *, is_planned: bool) -> None:
    load_merchant(PLACES, {}, GREEDY)
    store_orders(with_statuses(7, "400"))
    plan_all()
    store_orders(with_statuses(7, status, **LATER))
    set_stock("CHAIR", "GEBZE", 1)

    replan()

    states = [state for _, _, state in packages()]
    assert (PackageState.WAITING in states) is is_planned
