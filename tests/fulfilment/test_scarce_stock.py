"""Sixteen planners, and a third of the stock that their orders want."""

import random
from collections import Counter

from oms_workers.database import execute, rows
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import run_planners

ORDERS = 2_400
SKUS = [f"SKU-{number:02}" for number in range(40)]
PLACES = ["GEBZE", "IZMIR", "KADIKOY", "ANKARA", "ADANA"]


def test_sixteen_planners_oversell_nothing_and_plan_every_order_once(db: None) -> None:
    chance = random.Random(20261124)
    wanted = _store_orders(chance)
    stock = {(sku, place): wanted[sku] // 3 // len(PLACES) for sku in SKUS for place in PLACES}
    load_merchant(
        {place: {"priority": number % 2} for number, place in enumerate(PLACES)},
        stock,
        a_scenario({"mode": "single", "ranking": ["-stock_amount"]}, {"ranking": ["priority"]}),
    )

    run_planners("plan", processes=16, batch=25)

    assert rows("SELECT count(*) FROM orders WHERE state <> 'planned' AND next_plan_at <= now()") == [(0,)]
    # An order that lost its stock five times waits for its next turn; by then nobody is in its way.
    execute("UPDATE orders SET next_plan_at = now()")
    run_planners("plan", processes=1, batch=500)
    assert rows("SELECT state, count(*) FROM orders GROUP BY state") == [("planned", ORDERS)]
    assert rows("SELECT count(*), max(attempt) FROM order_execution_plans") == [(ORDERS, 1)]
    assert rows("SELECT sku, location_id FROM stock WHERE reserved <> on_hand") == []
    assert_sound()


def _store_orders(chance: random.Random) -> Counter[str]:
    """Orders with a long-tailed demand; returns the units wanted of each sku."""
    execute(
        """
        INSERT INTO orders
            (omnitron_id, number, status, state, next_plan_at, placed_at, received_at, facts, payload)
        SELECT n, n, '400', 'waiting', now(), now() - n * interval '1 s', now(), '{}', '{}'
        FROM generate_series(1, %s) AS n
        """,
        (ORDERS,),
    )
    weights = [1 / rank for rank in range(1, len(SKUS) + 1)]
    lines = [
        (order, sku, chance.randint(1, 3))
        for order in range(1, ORDERS + 1)
        for sku in chance.choices(SKUS, weights=weights, k=chance.randint(1, 4))
    ]
    execute(
        """
        INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
        SELECT order_id, ordinality, sku, quantity, '400'
        FROM unnest(%s::bigint[], %s::text[], %s::int[]) WITH ORDINALITY AS line (order_id, sku, quantity)
        """,
        [list(column) for column in zip(*lines, strict=True)],
    )
    wanted: Counter[str] = Counter()
    for _, sku, quantity in lines:
        wanted[sku] += quantity
    return wanted


def test_planners_at_once_give_a_location_no_more_packages_than_its_quota(db: None) -> None:
    quota = 17
    load_merchant(
        {"GEBZE": {"quota": quota}, "IZMIR": {"priority": 1, "quota": quota}},
        {("CHAIR", "GEBZE"): 999, ("CHAIR", "IZMIR"): 999},
        a_scenario({"ranking": ["priority"]}),
    )
    execute(
        """
        INSERT INTO orders
            (omnitron_id, number, status, state, next_plan_at, placed_at, received_at, facts, payload)
        SELECT n, n, '400', 'waiting', now(), now(), now(), '{}', '{}'
        FROM generate_series(1, 200) AS n
        """
    )
    execute(
        """
        INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
        SELECT id, id, 'CHAIR', 1, '400' FROM orders
        """
    )

    run_planners("plan", processes=6, batch=5)

    found = rows("SELECT location_id, count(*) FROM packages WHERE state = 100 GROUP BY 1 ORDER BY 1")
    assert [tuple(counted) for counted in found] == [(1, quota), (2, quota)]
    assert_sound()
