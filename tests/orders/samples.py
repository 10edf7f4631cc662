"""Orders as Omnitron would send them."""

from datetime import UTC, datetime
from typing import Any

from oms_workers.database import connection
from oms_workers.orders.intake import IntakeOutcome, store

Sample = tuple[dict[str, Any], list[dict[str, Any]]]


def an_order(key: int, *, skus: tuple[str, ...] = ("CRUNCHY-ARMCHAIR",), **fields: Any) -> Sample:
    """An order with this key and number, and a line of one unit for each sku."""
    order = {"pk": key, "number": str(key), "status": "400", "channel": "web", **fields}
    items = [
        {"pk": key * 100 + position, "order": key, "product": {"sku": sku}, "status": "400", "price": "10.00"}
        for position, sku in enumerate(skus, start=1)
    ]
    return order, items


def store_orders(*samples: Sample) -> list[IntakeOutcome]:
    """Store these orders as the pull would."""
    with connection():
        return [store(order, items, now=datetime.now(UTC)) for order, items in samples]
