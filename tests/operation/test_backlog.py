"""The backlog: the rows of all rooms, and what nothing will pick up."""

from collections.abc import Callable
from typing import Any

import pytest

from oms_workers.backlog import DoubleWaitingError, register_waiting, registered_waiting
from oms_workers.operation.backlog import backlog
from tests.orders.samples import an_order, store_orders


def lines() -> dict[str, dict[str, Any]]:
    return {line["state"]: line for line in backlog()}


def test_every_room_says_what_waits_in_it(db: None) -> None:
    states = [*lines()]

    assert {"orders waiting", "packages out_of_stock", "transfers in_transit", "discrepancies"} <= {*states}
    assert len(states) == len({*states}) == len(registered_waiting())


def test_a_row_is_registered_once() -> None:
    with pytest.raises(DoubleWaitingError, match="'orders waiting'"):
        register_waiting(next(row for row in registered_waiting() if row.state == "orders waiting"))


def test_what_waits_is_counted_with_the_age_of_the_oldest(db: None) -> None:
    store_orders(an_order(7, date_placed="2026-11-02"), an_order(8, date_placed="2026-11-01"))

    waiting = lines()["orders waiting"]

    assert (waiting["count"], waiting["oldest"].day, waiting["stuck"]) == (2, 1, None)
    assert lines()["orders held"] == {"state": "orders held", "count": 0, "oldest": None, "stuck": None}


def test_what_a_disabled_task_would_pick_up_is_stuck(db: None, configure: Callable[..., object]) -> None:
    store_orders(an_order(7))
    configure(FULFIL_WAITING_ORDERS="false")

    assert lines()["orders waiting"]["stuck"] == "nothing picks these up: FULFIL_WAITING_ORDERS disabled"
