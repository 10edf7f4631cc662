"""Omnitron's HTTP interface: each call that we make, by its name.

    with Omnitron(configuration, run.wait) as client:
        client.acknowledge(order)

A new call is a method of a few lines here. `transport.py` has the retries, bounds and tokens of all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import settings
from oms_workers.orders.answers import OmnitronAnswerError, OmnitronError, OmnitronRefusedError
from oms_workers.orders.models import OmnitronStatus
from oms_workers.orders.transport import ATTEMPTS, Transport

__all__ = ["ATTEMPTS", "Omnitron", "OmnitronAnswerError", "OmnitronError", "OmnitronRefusedError", "Page"]

#: An order with more lines than these pages hold is none; a hub that ignores `page` never comes to an end.
MAX_ITEM_PAGES = 100

#: How often a list of items is read that changes while it is read.
ITEM_READINGS = 3

_ORDERS, _ITEMS = "/api/i1/orders/", "/api/v1/order_items/"


@dataclass(frozen=True)
class Page:
    """One page of a list, whether there is another, and how many entries the whole list has."""

    results: list[Any]
    has_next: bool
    count: int | None = None


class Omnitron:
    """A client that may be used by several threads, until its block ends.

    `wait` is asked to wait so many seconds, and answers False when there is no time for that. Every call
    raises `OmnitronError` where it does not bring what it promises.
    """

    def __init__(self, configuration: settings.Settings, wait: Callable[[float], bool]) -> None:
        self._transport = Transport(configuration, wait)
        self.page_size = configuration.omnitron_page_size

    def __repr__(self) -> str:
        return f"<Omnitron {self._transport.url}>"

    def __enter__(self) -> "Omnitron":
        return self

    def __exit__(self, *_: object) -> None:
        """End the connections of all threads that have made calls."""
        self._transport.close()

    def orders(self, page: int, *, limit: int | None = None) -> Page:
        """A page of the approved orders that we have not acknowledged; empty where there is no such page."""
        parameters = {
            "status": OmnitronStatus.APPROVED.value,
            "is_send": "false",
            "limit": limit or self.page_size,
            "page": page,
        }
        # Pages shift while we read: a later one may be gone. The first is always there.
        gone: Any = {"results": [], "next": None} if page > 1 else None
        return _page(self._transport.call("GET", _ORDERS, parameters, absent=gone), f"GET {_ORDERS}")

    def order(self, order: int) -> dict[str, Any] | None:
        """The order as it is now, without its items, or None where Omnitron has no such order."""
        path = f"/api/i1/orders_integration/{order}/detailed_integration/"
        found = self._transport.call("GET", path, absent={}, about_one=True)
        if not isinstance(found, dict):
            raise OmnitronAnswerError(f"GET {path} answered without an order.")
        return {name: value for name, value in found.items() if name != "orderitem_set"} or None

    def items(self, order: int) -> list[Any]:
        """The lines of an order, from all their pages, whole: as many as there are, and none twice.

        A list that changes while it is read is read again.
        """
        for _ in range(ITEM_READINGS):
            items, is_whole = self._read_items(order)
            if is_whole:
                return items
        raise OmnitronError(
            f"GET {_ITEMS} of order {order} changed while it was read, {ITEM_READINGS} times."
        )

    def acknowledge(self, order: int) -> Any:
        """Say that we have the order, so that it is not offered again; returns what it then is, if said."""
        path = f"/api/v1/orders/{order}/"
        return self._transport.call("PATCH", path, body={"is_send": True}, about_one=True)

    def _read_items(self, order: int) -> tuple[list[Any], bool]:
        pages = [*self._item_pages(order)]
        items = [item for page in pages for item in page.results]
        counts = {page.count for page in pages}
        if counts == {None} and len(pages) == 1:
            return items, True
        keys = [item.get("pk") for item in items if isinstance(item, dict)]
        has_repeated = len(pages) > 1 and len({*map(repr, keys)}) < len(keys)
        return items, counts == {len(items)} and not has_repeated

    def _item_pages(self, order: int) -> Iterator[Page]:
        call = f"GET {_ITEMS}"
        for page in range(1, MAX_ITEM_PAGES + 1):
            parameters = {"order": order, "limit": self.page_size, "page": page}
            gone: Any = {"results": [], "next": None, "count": -1} if page > 1 else None
            found = self._transport.call("GET", _ITEMS, parameters, absent=gone, about_one=True)
            yield (read := _page(found, call))
            if not read.has_next:
                return
        raise OmnitronAnswerError(f"{call} of order {order} has no end after {MAX_ITEM_PAGES} pages.")


def _page(found: Any, call: str) -> Page:
    if not isinstance(found, dict) or not isinstance(found.get("results"), list):
        raise OmnitronAnswerError(f"{call} answered without a list of results.")
    count = found.get("count")
    return Page(found["results"], bool(found.get("next")), count if isinstance(count, int) else None)
