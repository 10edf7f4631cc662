"""The names by which a person asks for an order: its number, or Omnitron's key of it."""

from typing import Any

from oms_workers.orders.models import Order
from oms_workers.orders.parsing import MAX_KEY


def is_called(name: str) -> Any:
    """The condition that an order has this number or this Omnitron key."""
    by_number = Order.number == name
    return by_number | (Order.omnitron_id == int(name)) if _is_key(name) else by_number


def _is_key(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name[: len(str(MAX_KEY))]) <= MAX_KEY
