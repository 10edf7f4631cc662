"""The names by which a person asks for an order: its number, or Omnitron's key of it."""

from typing import Any

from oms_workers.orders.models import Order
from oms_workers.orders.parsing import MAX_KEY


def is_called(name: str) -> Any:
    """The condition that an order has this number or this Omnitron key."""
    by_number = Order.number == name
    return by_number | (Order.omnitron_id == int(name)) if _is_key(name) else by_number


def _is_key(name: str) -> bool:
    """Whether it is a key as Omnitron writes it, without zeros before it."""
    is_number = name.isascii() and name.isdigit() and len(name) <= len(str(MAX_KEY))
    return is_number and str(int(name)) == name and int(name) <= MAX_KEY
