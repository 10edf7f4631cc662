"""Acknowledging an order in the version that was stored, and noticing that the hub has a newer one.

Between our reading of an order and our acknowledgement the hub may change it. So we compare what is
acknowledged with what was stored, and read the order again where they differ.
"""

from typing import Any, NamedTuple

from oms_workers.orders.client import Omnitron, OmnitronError
from oms_workers.orders.intake import Offer
from oms_workers.orders.models import OmnitronStatus
from oms_workers.orders.parsing import raw_modification_of

#: What the acknowledgement itself changes, or may change.
_OUR_OWN = ("is_send", "modified_date")

#: Of an order with one of these nothing will come any more.
_ENDED = (OmnitronStatus.CANCELLED, OmnitronStatus.REFUNDED)


class Acknowledged(NamedTuple):
    """Whether the hub took the acknowledgement, and what is to be stored after it.

    `newer` is the hub's version where it is not the stored one. `problem` is why that cannot be known.
    """

    is_taken: bool
    newer: Offer | None = None
    problem: str | None = None


def acknowledge(client: Omnitron, key: int, offer: Offer) -> Acknowledged:
    """Acknowledge the order that was stored in this version. Only HTTP, so any thread may call it.

    Raises `OmnitronError` where the acknowledgement itself was not taken.
    """
    said = client.acknowledge(key)
    try:
        return Acknowledged(is_taken=True, newer=_newer(client, key, offer, said))
    except OmnitronError as error:
        return Acknowledged(is_taken=True, problem=str(error))


def read_order(client: Omnitron, key: int) -> Offer | None:
    """The order as it is now, or None where the hub has none, or nothing more of it will come.

    Where it is changed between the two calls, its acknowledgement tells.
    """
    order = client.order(key)
    if order is None or order.get("status") in _ENDED:
        return None
    return Offer(order, client.items(key))


def _newer(client: Omnitron, key: int, offer: Offer, said: Any) -> Offer | None:
    if not isinstance(said, dict) or raw_modification_of(said) is None:
        # The answer does not say which version was acknowledged.
        said = client.order(key)
        if said is None:
            return None
    if _is_same_version(offer.payload, said):
        return None
    items = client.items(key)
    # Of some hubs the acknowledgement itself moves the date.
    if items == offer.items and not _differ(offer.payload, said):
        return None
    order = client.order(key)
    return Offer(order, items) if order is not None else None


def _is_same_version(stored: Any, said: Any) -> bool:
    modified_at = raw_modification_of(stored)
    return modified_at is not None and modified_at == raw_modification_of(said)


def _differ(stored: Any, said: Any) -> bool:
    """Whether two forms of an order differ in what both have; each call has a form of its own."""
    return _differs({name: value for name, value in stored.items() if name not in _OUR_OWN}, said)


def _differs(stored: Any, said: Any) -> bool:
    if isinstance(stored, dict) and isinstance(said, dict):
        return any(_differs(stored[name], said[name]) for name in stored.keys() & said.keys())
    if isinstance(stored, dict | list) or isinstance(said, dict | list):
        both = isinstance(stored, list) and isinstance(said, list)
        return both and (len(stored) != len(said) or any(map(_differs, stored, said)))
    return bool(stored != said)
