"""A page of Omnitron's list of orders, also where the hub cannot give all of it.

A page that fails for good is halved, and its failing halves again, down to the one order that breaks it.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from oms_workers.orders.client import Omnitron, OmnitronAnswerError, Page
from oms_workers.orders.parsing import key_of

logger = logging.getLogger(__name__)

#: After so many parts that fail, and none that succeeds, the hub is asked whether it answers at all.
MOST_FAILURES = 20

#: How far after the page the orders are for which it is asked then; beyond the list's end is an answer too.
PROBES = (1, 2, 3, 5)


@dataclass
class OrdersRead:
    """What a page holds. `unreadable` says by its position in the list why an order cannot be had."""

    results: list[Any] = field(default_factory=list)
    has_next: bool = True
    unreadable: dict[int, str] = field(default_factory=dict)


def read_orders(client: Omnitron, page: int) -> OrdersRead:
    """A page of the orders that Omnitron offers. Raises `OmnitronError` where the list cannot be read."""
    try:
        whole = client.orders(page)
        return OrdersRead(whole.results, whole.has_next)
    except OmnitronAnswerError as error:
        logger.warning("Page %s of the orders is read in parts: %s", page, error)
        return _read_in_parts(client, (page - 1) * client.page_size, error)


def _read_in_parts(client: Omnitron, start: int, problem: OmnitronAnswerError) -> OrdersRead:
    read = OrdersRead()
    waiting = [*_halves(start, client.page_size)][::-1]
    if not waiting:
        read.unreadable[start] = str(problem)
    failures, has_succeeded = 1, False
    while waiting:
        first, limit = waiting.pop()
        try:
            part = client.orders(first // limit + 1, limit=limit)
        except OmnitronAnswerError as error:
            failures += 1
            if failures > MOST_FAILURES and not has_succeeded:
                _check_that_it_answers(client, start + client.page_size, problem)
                has_succeeded = True
            if limit == 1:
                read.unreadable[first] = str(error)
                read.has_next = True
            waiting += [*_halves(first, limit)][::-1]
            continue
        has_succeeded = True
        _add(read, part)
    if not has_succeeded:
        _check_that_it_answers(client, start + client.page_size, problem)
    return read


def _check_that_it_answers(client: Omnitron, position: int, problem: OmnitronAnswerError) -> None:
    """Where a whole page fails, ask for single orders after it: a hub that gives none fails altogether."""
    for distance in PROBES:
        try:
            client.orders(position + distance, limit=1)
            return
        except OmnitronAnswerError:
            continue
    raise problem


def _add(read: OrdersRead, part: Page) -> None:
    """Parts may overlap, and then have an order twice."""
    known = {key_of(payload) for payload in read.results}
    read.results += [payload for payload in part.results if key_of(payload) not in known]
    read.has_next = part.has_next


def _halves(start: int, size: int) -> Iterator[tuple[int, int]]:
    """The pages of half the size that cover so many orders from a position on: the first of each, its size.

    Pages begin at multiples of their size. So where the size is odd, they cover a little more.
    """
    if size == 1:
        return
    limit = (size + 1) // 2
    first = start - start % limit
    yield from ((position, limit) for position in range(first, start + size, limit))
