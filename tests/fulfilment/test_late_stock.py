"""Late stock: a message asks at once for the packages that wait for it, the most urgent first."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq.brokers.redis import RedisBroker

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers import broker
from oms_workers.broker import Job
from oms_workers.database import rows, transaction
from oms_workers.fulfilment import late_stock, replanning, tasks
from oms_workers.fulfilment.tasks import plan_late_stock
from oms_workers.operation.load_files import load_files
from oms_workers.packages.commands.registry import run_command
from oms_workers.reservations.rises import DoubleRiseListenerError, note_rise, tell_of_rises
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, out_of_stock, packages, plan_all, set_stock
from tests.orders.samples import an_order, store_orders


@pytest.fixture
def sent(db: None, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The skus of each message that is sent."""
    found: list[list[str]] = []

    def keep(self: Job, *arguments: Any, **options: Any) -> None:
        assert self is plan_late_stock
        found.extend(arguments)

    monkeypatch.setattr(Job, "send", keep)
    return found


def count(directory: Path, *levels: tuple[str, str, int]) -> None:
    file = directory / "stock.json"
    file.write_text(
        json.dumps({"stock": [{"sku": s, "location": place, "on_hand": units} for s, place, units in levels]})
    )
    load_files([file])


def test_a_count_asks_for_the_skus_that_packages_wait_for(sent: list[Any], tmp_path: Path) -> None:
    out_of_stock(1, 2)

    count(tmp_path, ("CHAIR", "IZMIR", 2), ("CHAIR", "ANKARA", 1), ("LAMP", "IZMIR", 5))

    assert sent == [["CHAIR"]]


def test_older_and_more_urgent_packages_get_it_before_an_order_that_comes_now(sent: list[Any]) -> None:
    out_of_stock(1, 2, 3)
    set_stock("CHAIR", "IZMIR", 2)
    store_orders(an_order(4, skus=("CHAIR",)))
    (skus,) = sent

    plan_late_stock.perform(skus)
    plan_all()

    assert [(number, state) for number, _, state in packages()] == [
        ("P1-1", 1000),
        ("P2-1", 1000),
        ("P3-1", 920),
        ("P1-2", 100),
        ("P2-2", 100),
        ("P4-1", 920),
    ]
    assert_sound()


def test_only_packages_that_wait_for_it_are_looked_at(sent: list[Any]) -> None:
    out_of_stock(1)
    out_of_stock(2, sku="LAMP")
    set_stock("CHAIR", "IZMIR", 1)
    set_stock("LAMP", "IZMIR", 1)

    plan_late_stock.perform(["LAMP"])

    assert [state for _, _, state in packages()] == [920, 1000, 100]


def test_a_delivery_that_nobody_needs_any_more_asks_for_those_that_wait(sent: list[Any]) -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("LAMP", "IZMIR"): 1}, scenario)
    store_orders(an_order(1, skus=("CHAIR", "LAMP")), an_order(2, skus=("LAMP",)))
    plan_all()
    run_command("T1-1-1", "SHIP_TRANSFER", actor="tests")
    run_command("P1-1", "CANCEL", actor="tests")
    sent.clear()

    run_command("T1-1-1", "DELIVER_TRANSFER", actor="tests")

    assert sent == [["LAMP"]]


def test_a_package_that_is_cancelled_leaves_its_units_to_those_that_wait(sent: list[Any]) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1}, GREEDY)
    store_orders(*(an_order(key, skus=("CHAIR",)) for key in (1, 2)))
    plan_all()

    run_command("P1-1", "CANCEL", actor="tests")

    assert sent == [["CHAIR"]]


@pytest.mark.parametrize("units", [0, 1])
def test_nothing_is_sent_for_what_is_not_available_or_not_waited_for(sent: list[Any], units: int) -> None:
    out_of_stock(1)

    set_stock("CHAIR" if units == 0 else "LAMP", "IZMIR", units)

    assert sent == []


def test_nothing_is_sent_for_what_is_rolled_back(sent: list[Any]) -> None:
    out_of_stock(1)

    class GoneError(Exception):
        pass

    with pytest.raises(GoneError), transaction():
        set_stock("CHAIR", "IZMIR", 1)
        assert sent == []
        raise GoneError

    assert sent == []
    assert rows("SELECT count(*) FROM stock WHERE on_hand > 0") == [(0,)]


def test_a_broker_that_does_not_answer_keeps_no_count_from_being_loaded(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError("Connection refused")

    out_of_stock(1)
    monkeypatch.setattr(Job, "send", refuse)

    count(tmp_path, ("CHAIR", "IZMIR", 2))

    assert rows("SELECT on_hand FROM stock") == [(2,)]
    assert "Late stock is planned by the schedule, since Redis does not answer" in caplog.text


def test_many_skus_are_several_messages(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_stock, "MOST_SKUS", 2)
    for number, sku in enumerate("ABCDE", start=1):
        out_of_stock(number, sku=sku)

    load_merchant({}, {(sku, "IZMIR"): 1 for sku in "ABCDE"})

    assert sent == [["A", "B"], ["C", "D"], ["E"]]


def test_whoever_is_told_twice_is_refused() -> None:
    with pytest.raises(DoubleRiseListenerError):
        tell_of_rises(tasks.send_late_stock)


def test_without_a_sku_nothing_follows(sent: list[Any]) -> None:
    note_rise([])

    assert sent == []


def test_messages_that_go_on_try_each_package_once_and_end(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a quota somewhere, a package is always tried again; what no location has whole is tried in vain.
    places = {**PLACES, "GEBZE": {"priority": 1, "quota": 100}}
    load_merchant(places, {}, a_scenario({"mode": "single"}))
    store_orders(*(an_order(key, skus=("CHAIR", "LAMP")) for key in range(1, 7)))
    plan_all()
    set_stock("CHAIR", "IZMIR", 1)
    monkeypatch.setattr(tasks, "HELPER_BUDGET", timedelta(0))
    monkeypatch.setattr(replanning, "BATCH", 2)
    sent.clear()

    arguments: list[Any] = [["CHAIR"]]
    for _ in range(10):
        plan_late_stock.perform(*arguments)
        arguments, sent[:] = [*sent], []
        if not arguments:
            break

    assert arguments == []
    assert rows("SELECT DISTINCT replan_attempts FROM packages") == [(1,)]


def test_a_safety_that_is_lowered_is_late_stock(sent: list[Any], tmp_path: Path) -> None:
    load_merchant(PLACES, {}, GREEDY)
    count(tmp_path, ("CHAIR", "IZMIR", 1))
    (tmp_path / "stock.json").write_text(
        json.dumps({"stock": [{"sku": "CHAIR", "location": "IZMIR", "safety": 1}]})
    )
    load_files([tmp_path / "stock.json"])
    out_of_stock(1)
    sent.clear()

    (tmp_path / "stock.json").write_text(
        json.dumps({"stock": [{"sku": "CHAIR", "location": "IZMIR", "safety": 0}]})
    )
    load_files([tmp_path / "stock.json"])

    assert sent == [["CHAIR"]]


def test_nobody_waits_for_redis_to_send_a_hint(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise redis.ConnectionError("nothing listens there")

    monkeypatch.setattr(RedisBroker, "enqueue", refuse)
    monkeypatch.setattr(broker, "OUTAGE_PAUSE_SECONDS", 30)
    out_of_stock(1)
    began = time.monotonic()

    set_stock("CHAIR", "IZMIR", 1)

    assert time.monotonic() - began < 10
