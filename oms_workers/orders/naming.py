"""The names by which a person asks for an order: its number, or Omnitron's key of it."""

from typing import Any, NamedTuple

from oms_workers.errors import OmsError
from oms_workers.orders.models import Order
from oms_workers.orders.parsing import MAX_KEY
from oms_workers.sets import columns_of, fetch


class AmbiguousOrderError(OmsError):
    """A name means several orders, where one is to be changed."""


class _Called(NamedTuple):
    number: str
    omnitron_id: int


def is_called(name: str) -> Any:
    """The condition that an order has this number or this Omnitron key."""
    by_number = Order.number == name
    return by_number | (Order.omnitron_id == int(name)) if _is_key(name) else by_number


def refuse_ambiguity(name: str) -> None:
    """Raise `AmbiguousOrderError` where one order has this number and another one this Omnitron key."""
    query = Order.select(*columns_of(Order, _Called)).where(is_called(name))
    found = fetch(query.order_by(Order.id), _Called)
    if len(found) > 1:
        orders = " and ".join(f"{each.number} with Omnitron's key {each.omnitron_id}" for each in found)
        raise AmbiguousOrderError(
            f"{name!r} means {len(found)} orders, number {orders}; give the other name of the one you mean."
        )


def _is_key(name: str) -> bool:
    """Whether it is a key as Omnitron writes it, without zeros before it."""
    is_number = name.isascii() and name.isdigit() and len(name) <= len(str(MAX_KEY))
    return is_number and str(int(name)) == name and int(name) <= MAX_KEY
