"""Opening movements: from now on each counter of stock is the sum of its movements.

Where the movements that there are do not add up to a counter, one more makes good the difference. It works in
batches, may be killed, and adds nothing when it is applied again.
"""

atomic = False

#: Stocks of one transaction.
BATCH = 1_000

#: The stock is locked in the order in which everybody locks it.
NEXT = """
    SELECT sku, location_id FROM stock
    WHERE (sku, location_id) > (%(sku)s, %(location)s)
    ORDER BY sku, location_id
    LIMIT %(batch)s
    FOR NO KEY UPDATE
"""

#: A statement of its own, since it has to see what others have committed before they gave up the lock.
OPEN = """
    WITH wanted AS (
        SELECT stock.*
        FROM stock
        JOIN unnest(%(skus)s::text[], %(locations)s::bigint[]) AS given (sku, location_id)
            USING (sku, location_id)
    ), moved AS (
        SELECT sku, location_id,
               coalesce(sum(quantity) FILTER (
                   WHERE kind IN ('consumed', 'received', 'snapshot', 'opening')), 0)::int AS on_hand,
               coalesce(sum(quantity) FILTER (
                   WHERE kind IN ('reserved', 'released', 'consumed', 'recounted', 'opening_reserved')
               ), 0)::int AS reserved
        FROM wanted
        JOIN stock_movements USING (sku, location_id)
        GROUP BY sku, location_id
    ), missing AS (
        SELECT wanted.sku, wanted.location_id, wanted.on_hand, wanted.reserved,
               wanted.on_hand - coalesce(moved.on_hand, 0) AS on_hand_units,
               wanted.reserved - coalesce(moved.reserved, 0) AS reserved_units
        FROM wanted
        LEFT JOIN moved USING (sku, location_id)
    )
    INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at, on_hand, reserved)
    SELECT sku, location_id, units, kind, 'oms migrate', clock_timestamp(), on_hand, reserved
    FROM missing
    CROSS JOIN LATERAL (
        VALUES (on_hand_units, 'opening'), (reserved_units, 'opening_reserved')
    ) AS opening (units, kind)
    WHERE units <> 0
"""

COUNTED = """
    UPDATE stock SET counted_at = snapshot_at
    FROM unnest(%(skus)s::text[], %(locations)s::bigint[]) AS given (sku, location_id)
    WHERE (stock.sku, stock.location_id) = (given.sku, given.location_id)
      AND counted_at IS NULL AND snapshot_at IS NOT NULL
"""


def up(migrator, db):
    last = {"sku": "", "location": 0}
    while True:
        with db.atomic():
            found = db.execute_sql(NEXT, {**last, "batch": BATCH}).fetchall()
            if not found:
                return
            keys = {"skus": [sku for sku, _ in found], "locations": [location for _, location in found]}
            db.execute_sql(OPEN, keys)
            db.execute_sql(COUNTED, keys)
        last = {"sku": found[-1][0], "location": found[-1][1]}
