"""Stock is locked in one order: whoever changes several of its rows never deadlocks with a planner."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import settings
from oms_workers.database import connection, connection_parameters, database_now, execute
from oms_workers.packages.reconciliation import fix
from oms_workers.packages.shortfalls import relieve_shortfalls
from tests.fulfilment.samples import a_scenario, load_merchant
from tests.fulfilment.steps import plan_all, set_stock
from tests.orders.samples import an_order, store_orders

LOCK = """
    SELECT FROM stock JOIN locations ON id = location_id
    WHERE (sku, code) = (%s, %s) FOR NO KEY UPDATE OF stock
"""
WAITS = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
    )
"""
PLACES = {"ANKARA": {"priority": 2}, "GEBZE": {"priority": 1}}
TRANSFERS = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})


@pytest.fixture(autouse=True)
def _empty(db: None) -> None:
    pass


def beside_a_planner(work: Callable[[], object], first: tuple[str, str], second: tuple[str, str]) -> None:
    """Let a planner lock two rows of stock, and the work begin between them."""
    with (
        psycopg.connect(**connection_parameters(settings.current())) as planner,
        ThreadPoolExecutor(1) as pool,
    ):
        planner.execute(LOCK, first)
        done = pool.submit(work)
        with psycopg.connect(**connection_parameters(settings.current()), autocommit=True) as looking:
            for _ in range(500):
                waits = looking.execute(WAITS).fetchone()
                if waits == (True,):
                    break
                threading.Event().wait(0.01)
        assert waits == (True,), "the work has not come to the planner's row"
        planner.execute(LOCK, second)
        planner.commit()
        done.result(30)


def test_a_package_gives_way_beside_a_planner(caplog: pytest.LogCaptureFixture) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 1, ("CHAIR", "ANKARA"): 1}, TRANSFERS)
    store_orders(an_order(7, skus=("CHAIR", "CHAIR")))
    plan_all()
    set_stock("CHAIR", "GEBZE", 0)
    caplog.set_level(logging.INFO)

    def work() -> None:
        with connection():
            assert relieve_shortfalls(actor="task", at=database_now()) == 1

    beside_a_planner(work, ("CHAIR", "ANKARA"), ("CHAIR", "GEBZE"))

    assert "40P01" not in caplog.text


def test_what_a_package_holds_is_put_right_beside_a_planner(caplog: pytest.LogCaptureFixture) -> None:
    load_merchant(
        PLACES,
        {("CHAIR", "GEBZE"): 5, ("LAMP", "GEBZE"): 5},
        a_scenario({"mode": "single", "ranking": ["priority"]}),
    )
    store_orders(an_order(7, skus=("CHAIR", "LAMP")))
    plan_all()
    execute("UPDATE reservations SET released_at = now() WHERE sku = 'CHAIR'")
    execute("UPDATE reservations SET quantity = 2 WHERE sku = 'LAMP'")
    execute("UPDATE stock SET reserved = CASE sku WHEN 'LAMP' THEN 2 ELSE 0 END")
    caplog.set_level(logging.INFO)

    def work() -> None:
        with connection():
            fix(at=database_now())

    beside_a_planner(work, ("CHAIR", "GEBZE"), ("LAMP", "GEBZE"))

    assert "40P01" not in caplog.text
