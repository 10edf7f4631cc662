"""One order of thousands of lines, beside others that are to be planned too."""

from oms_workers.database import execute, rows
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import a_run
from tests.orders.samples import an_order, store_orders

LINES = 6_000
PLACES = [f"PLACE-{number}" for number in range(30)]


def test_an_order_of_6000_lines_is_planned_and_51_others_with_it(db: None) -> None:
    """One line of 29 units is spread over thirty locations, and three rules look for the fewest of them."""
    few = {"mode": "fewest_splits", "ranking": ["priority"]}
    load_merchant(
        {place: {"priority": number} for number, place in enumerate(PLACES)},
        {("SCREW", place): 1 for place in PLACES},
        a_scenario(few, few, {**few, "allow_partial": True}),
    )
    execute(
        """
        INSERT INTO stock (sku, location_id, on_hand)
        SELECT 'SKU-' || n, locations.id, 5 FROM locations, generate_series(1, %s) AS n
        WHERE n %% 3 = locations.id %% 3
        """,
        (LINES,),
    )
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
        SELECT sku, location_id, on_hand, 'opening', 'tests', now() FROM stock WHERE sku LIKE 'SKU-%%'
        """
    )
    store_orders(*(an_order(key, skus=("SKU-1",)) for key in range(1, 52)), an_order(99, skus=("SCREW",)))
    execute("UPDATE order_items SET quantity = 29 WHERE sku = 'SCREW'")
    execute("UPDATE orders SET priority = 9 WHERE omnitron_id = 99")
    execute(
        """
        INSERT INTO order_items (order_id, omnitron_id, sku, quantity, status)
        SELECT orders.id, 1000000 + n, 'SKU-' || n, 1, '400'
        FROM orders, generate_series(1, %s) AS n WHERE orders.omnitron_id = 99
        """,
        (LINES,),
    )

    counts = plan_waiting_orders(a_run())

    assert counts["orders"] == 52
    assert rows("SELECT state, count(*) FROM orders GROUP BY state") == [("planned", 52)]
    assert_sound()
