"""Snapshots that say less than was promised, and loads beside planners."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
import settings
from oms_workers.database import connection, connection_parameters, database_now, execute, rows
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.operation.load_files import load_files
from oms_workers.packages import shortfalls
from oms_workers.packages.commands.registry import (
    run_command,
)
from oms_workers.packages.shortfalls import relieve_shortfalls
from tests.fulfilment.samples import a_scenario, assert_books_balance, assert_sound, load_merchant
from tests.fulfilment.steps import (
    GREEDY,
    PLACES,
    a_run,
    packages,
    plan_all,
    replan,
    set_stock,
    transfers,
)
from tests.orders.samples import an_order, store_orders
from tests.packages.commands.shop import items

SINGLE = a_scenario({"mode": "single", "ranking": ["priority"]})


def test_a_snapshot_below_what_is_reserved_sends_the_least_urgent_elsewhere(tmp_path: Any) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",), date_placed=f"2026-11-0{key}") for key in (1, 2, 3)))
    plan_all()
    execute("UPDATE orders SET priority = 9 WHERE number = '3'")
    file = tmp_path / "stock.json"
    file.write_text('{"stock": [{"sku": "CHAIR", "location": "GEBZE", "on_hand": 1}]}')

    counts = load_files([file])

    assert counts["packages short of stock"] == 2
    assert [state for _, _, state in packages()] == [910, 910, 100]
    assert rows("SELECT on_hand, reserved FROM stock") == [(1, 1)]
    set_stock("CHAIR", "IZMIR", 1)
    assert replan()["replanned"] == 1
    assert_sound()


def test_what_is_being_prepared_stays_even_when_it_is_short() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()
    run_command("P2-1", "START_PREPARING", actor="tests")
    set_stock("CHAIR", "GEBZE", 0)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1

    assert [state for _, _, state in packages()] == [910, 200]
    assert rows("SELECT on_hand, reserved FROM stock") == [(0, 1)]
    assert_books_balance()


def test_only_what_is_short_leaves_a_package() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3, ("LAMP", "GEBZE"): 1, ("LAMP", "IZMIR"): 1}, SINGLE)
    store_orders(an_order(1, skus=("CHAIR", "CHAIR", "CHAIR", "LAMP")))
    plan_all()
    set_stock("CHAIR", "GEBZE", 2)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1

    assert packages() == [("P1-1", "GEBZE", 100), ("P1-2", "GEBZE", 920)]
    assert items("P1-1") == [("CHAIR", 1), ("CHAIR", 1), ("LAMP", 1)]
    assert items("P1-2") == [("CHAIR", 1)]
    assert rows("SELECT sku, reserved FROM stock WHERE location_id = 1 ORDER BY sku") == [
        ("CHAIR", 2),
        ("LAMP", 1),
    ]
    set_stock("CHAIR", "ANKARA", 1)
    assert replan()["replanned"] == 1
    assert packages()[-1] == ("P1-3", "ANKARA", 100)
    assert_sound()


def test_a_line_that_is_partly_short_is_split_at_what_is_there() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    order, (line,) = an_order(1, skus=("CHAIR",))
    store_orders((order, [{**line, "quantity": 5}]))
    plan_all()
    set_stock("CHAIR", "GEBZE", 3)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1

    assert (items("P1-1"), items("P1-2")) == ([("CHAIR", 3)], [("CHAIR", 2)])
    assert_sound()


def test_the_least_urgent_gives_way_first_whatever_its_number() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 4}, SINGLE)
    store_orders(*(an_order(key, skus=("CHAIR",) * 2) for key in (1, 2)))
    plan_all()
    execute("UPDATE orders SET priority = 9 WHERE id = 1")
    set_stock("CHAIR", "GEBZE", 1)

    assert relieve_shortfalls(actor="task", at=database_now()) == 2

    assert packages() == [("P1-1", "GEBZE", 100), ("P2-1", "GEBZE", 910), ("P1-2", "GEBZE", 920)]
    assert (items("P1-1"), items("P1-2")) == ([("CHAIR", 1)], [("CHAIR", 1)])
    assert_books_balance()


def test_what_a_package_has_packed_or_sent_stays() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 3}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2, 3)))
    plan_all()
    run_command("P1-1", "COMPLETE_PACKAGING", actor="tests")
    for name in ("COMPLETE_PACKAGING", "SHIP_THE_PACKAGE"):
        run_command("P2-1", name, actor="tests")
    set_stock("CHAIR", "GEBZE", 0)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1

    assert [state for _, _, state in packages()] == [500, 600, 910]


def test_stock_that_has_come_back_meanwhile_sends_nobody_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, GREEDY)
    store_orders(an_order(1, skus=("CHAIR",)))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)
    candidates = shortfalls._candidates()
    set_stock("CHAIR", "GEBZE", 1)
    monkeypatch.setattr(shortfalls, "_candidates", lambda: candidates)

    assert len(candidates) == 1
    assert relieve_shortfalls(actor="task", at=database_now()) == 0
    assert packages() == [("P1-1", "GEBZE", 100)]


def test_a_transfer_whose_source_is_short_looks_for_another_one() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    set_stock("LAMP", "IZMIR", 0)
    set_stock("LAMP", "ANKARA", 1)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1
    assert transfers() == [("T1-1-1", "IZMIR", 920)]
    assert replan_transfers(a_run())["replaced"] == 1
    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    assert packages() == [("P1-1", "GEBZE", 150)]
    assert_books_balance()


def test_a_package_that_waits_for_a_transfer_gives_way_too() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1
    assert packages() == [("P1-1", "GEBZE", 910)]
    assert transfers() == [("T1-1-1", "IZMIR", 1000)]
    assert_books_balance()


def test_a_line_of_which_a_part_is_still_to_come_gives_up_only_what_it_holds() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    stock = {("LAMP", "GEBZE"): 1, ("CHAIR", "IZMIR"): 5}
    load_merchant(PLACES, stock, scenario)
    order, items = an_order(7, skus=("LAMP", "CHAIR"))
    store_orders((order, [items[0], {**items[1], "quantity": 5}]))
    plan_all()
    # The source has none any more; the destination has two of five by now, and another one the rest.
    set_stock("CHAIR", "IZMIR", 0)
    relieve_shortfalls(actor="task", at=database_now())
    set_stock("CHAIR", "GEBZE", 2)
    set_stock("CHAIR", "ANKARA", 3)
    assert replan_transfers(a_run())["replaced"] == 1
    assert_books_balance()
    set_stock("CHAIR", "GEBZE", 1)

    assert relieve_shortfalls(actor="task", at=database_now()) == 1

    assert_books_balance()


def test_one_order_that_somebody_holds_keeps_nobody_from_giving_way(monkeypatch: pytest.MonkeyPatch) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 2}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)
    execute("SET lock_timeout = '50ms'")
    try:
        with psycopg.connect(**connection_parameters(settings.current())) as other:
            other.execute("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
            assert relieve_shortfalls(actor="task", at=database_now()) == 1
    finally:
        execute("SET lock_timeout = '10s'")

    assert [state for _, _, state in packages()] == [100, 910]


def test_a_discrepancy_alone_is_no_shortfall() -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()
    run_command("P1-1", "PRODUCT_NOT_FOUND", actor="tests")
    set_stock("CHAIR", "GEBZE", 1)

    assert relieve_shortfalls(actor="task", at=database_now()) == 0


@pytest.mark.parametrize("quota", [10_000, None])
def test_loads_and_planners_in_any_order_come_to_their_end(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, quota: int | None
) -> None:
    codes = [f"L{number:02}" for number in range(40)]
    load_merchant({code: {"quota": quota} for code in codes}, {("CHAIR", code): 99 for code in codes}, GREEDY)
    files = []
    for number, order in enumerate((codes, codes[::-1])):
        specs = [{"code": code, "name": code, "type": "store"} for code in order]
        levels = [{"sku": "CHAIR", "location": code, "on_hand": 99} for code in order]
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps({"locations": specs, "stock": levels}))
    store_orders(*(an_order(key, skus=("CHAIR",) * 3) for key in range(1, 61)))

    def plan_elsewhere() -> None:
        with connection():
            for _ in range(3):
                plan_all()

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(load_files, [file]) for file in files * 8]
        plans = [pool.submit(plan_elsewhere) for _ in range(3)]
        assert all(load.result(60)["locations"] == 40 for load in loads)
        assert [plan.result(60) for plan in plans] == [None] * 3

    assert "40P01" not in caplog.text
    assert rows("SELECT DISTINCT quota FROM locations") == [(quota,)]
    assert_sound()
