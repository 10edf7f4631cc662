"""Where lines do not go again for a while, because they were rejected there."""

from collections.abc import Iterable

from oms_workers.database import execute
from oms_workers.fulfilment.commands.registry import Circumstances


def exclude(order_item_ids: Iterable[int], location_id: int, circumstances: Circumstances) -> None:
    """Let these lines remember the location, so that no plan brings them back to the same shelf."""
    execute(
        """
        INSERT INTO excluded_locations (order_item_id, location_id, until)
        SELECT DISTINCT order_item_id, %s::bigint, %s::timestamptz
        FROM unnest(%s::bigint[]) AS order_item_id
        ORDER BY order_item_id
        ON CONFLICT (order_item_id, location_id) DO UPDATE SET until = excluded.until
        """,
        (location_id, circumstances.at + circumstances.exclusion, [*order_item_ids]),
    )
