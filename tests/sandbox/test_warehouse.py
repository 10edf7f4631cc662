"""The stand-in warehouse: goods come to the shelves that are nearly empty, as a merchant would say so."""

import random

import pytest

from oms_workers.database import rows
from oms_workers.sandbox import warehouse
from tests.fulfilment.samples import assert_sound, load_merchant
from tests.fulfilment.steps import GREEDY, out_of_stock, packages, replan

SHELVES = {("CHAIR", "GEBZE"): 0, ("LAMP", "GEBZE"): 5, ("CLOCK", "GEBZE"): 6, ("CHAIR", "CLOSED"): 0}


@pytest.fixture(autouse=True)
def merchant(db: None) -> None:
    load_merchant({"GEBZE": {}, "CLOSED": {"active": False}}, SHELVES, GREEDY)


def levels() -> list[tuple[str, str, int]]:
    found = rows("SELECT sku, code, on_hand FROM stock JOIN locations ON id = location_id ORDER BY id, sku")
    return [tuple(level) for level in found]


def test_goods_come_to_the_shelves_that_are_nearly_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse, "UNITS", (50, 50))

    assert warehouse.receive_goods(random.Random(1)) == 2

    assert levels() == [
        ("CHAIR", "GEBZE", 50),
        ("CLOCK", "GEBZE", 6),
        ("LAMP", "GEBZE", 55),
        ("CHAIR", "CLOSED", 0),
    ]
    moved = rows("SELECT sku, quantity FROM stock_movements WHERE quantity = 50 ORDER BY sku")
    assert moved == [("CHAIR", 50), ("LAMP", 50)]


def test_what_was_out_of_stock_is_planned_after_a_delivery() -> None:
    out_of_stock(7)

    warehouse.receive_goods(random.Random(1))

    assert replan()["replanned"] == 1
    assert packages() == [("P1-1", "GEBZE", 1000), ("P1-2", "GEBZE", 100)]
    assert_sound()


def test_a_delivery_fills_so_many_shelves_the_emptiest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse, "SHELVES", 1)

    assert warehouse.receive_goods(random.Random(1)) == 1

    assert next(level for level in levels() if level[2] > 6)[:2] == ("CHAIR", "GEBZE")
