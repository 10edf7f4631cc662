"""The pull: walk through Omnitron's pages, which shift meanwhile, until a walk finds nothing new.

An acknowledged order leaves the list, and orders of the next page move to this one. A rejected order stays in
the list. So every walk goes to the last page, and the walks end when one acknowledges no order. After them,
rejects that are due and not offered any more are asked for by their keys.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oms_workers.database import connection
from oms_workers.orders.asking import ask_for_due
from oms_workers.orders.client import Omnitron, OmnitronError
from oms_workers.orders.intake import IntakeOutcome, Offer, seen_before
from oms_workers.orders.pages import OrdersRead, read_orders
from oms_workers.orders.parsing import key_of
from oms_workers.orders.rejections import UNREAD, Reject, forget_keyless, forget_rejections, reject
from oms_workers.orders.taking import Problem, Taker
from oms_workers.scheduling.run import Run

#: A list may have so many empty pages in a row that name a next one; with more it has no end.
MOST_EMPTY_PAGES = 20


def pull(client: Omnitron, run: Run, *, concurrency: int) -> dict[str, int]:
    """Store every order that Omnitron offers and acknowledge it after its commit.

    Returns how many orders were stored, updated, unchanged, rejected and acknowledged, and how many calls
    about single orders failed. Omnitron offers these again, but for those whose acknowledgement it has taken.
    Raises `OmnitronError` where the list itself cannot be read.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="omnitron") as threads:
        taker = Taker(client, run, threads)
        try:
            _pull(taker)
        except OmnitronError:
            # Where the process has to stop, the wait was cut short: that is no failure of Omnitron.
            if run.stopped_by is None:
                raise
    return dict(taker.counts)


def _pull(taker: Taker) -> None:
    while True:
        acknowledged = len(taker.acknowledged)
        walk = _Walk(taker)
        walk.go()
        if taker.run.should_stop():
            return
        # Only these count: a hub that offers an acknowledged order again would keep the pull running.
        if len(taker.acknowledged) == acknowledged:
            break
    with connection():
        forget_keyless(except_for=[*walk.seen])
    ask_for_due(taker, offered=[*walk.seen])


class _Walk:
    """One way from the first page to the last; `seen` are the keys of the orders on it."""

    def __init__(self, taker: Taker) -> None:
        self.seen: set[str] = set()
        self._taker = taker
        self._unreadable = 0

    def go(self) -> None:
        page, has_next, empty = 1, True, 0
        while has_next:
            found = read_orders(self._taker.client, page)
            self._taker.counts["pages"] += 1
            keys = {key_of(payload) for payload in found.results}
            empty = 0 if keys or found.unreadable else empty + 1
            is_repeated = bool(keys) and keys <= self.seen
            if found.has_next and not found.unreadable and (is_repeated or empty > MOST_EMPTY_PAGES):
                raise OmnitronError(
                    f"GET /api/i1/orders/ has no end: page {page} names a next one and has no new order."
                )
            self.seen |= keys
            self._take(found)
            page, has_next = page + 1, found.has_next
            if has_next and self._taker.run.should_stop():
                return

    def _take(self, found: OrdersRead) -> None:
        """Fetch the items of a page's orders, store the orders, and acknowledge the stored ones."""
        now = self._taker.run.now
        with connection():
            reject([*self._unread(found.unreadable)], now=now)
            seen = seen_before(found.results, now=now)
            stored = [n for n, outcome in seen.items() if outcome is IntakeOutcome.UNCHANGED]
            unchanged = {key_of(found.results[n]): Offer(found.results[n], []) for n in stored}
            forget_rejections([*unchanged])
        fresh = [payload for position, payload in enumerate(found.results) if position not in seen]
        self._taker.take(self._with_items(fresh))
        self._taker.acknowledge(unchanged)

    def _unread(self, unreadable: dict[int, str]) -> Iterator[Reject]:
        """Orders that the hub cannot give. Nothing of them is known, so they are counted through."""
        for position, problem in unreadable.items():
            self._unreadable += 1
            key = f"{UNREAD}{self._unreadable}"
            self.seen.add(key)
            yield Reject(None, [], f"it is number {position + 1} of Omnitron's list, and {problem}", key=key)

    def _with_items(self, payloads: Sequence[Any]) -> Iterator[Offer]:
        """Each order with its items; one without a key, which is rejected anyway, has none."""
        by_key = {key_of(payload): payload for payload in payloads}
        read = self._taker.call(
            [key for key in by_key if key.isdigit()], lambda key: self._taker.client.items(int(key))
        )
        unread = {}
        for key, payload in by_key.items():
            items = read.get(key, [])
            if isinstance(items, Problem):
                unread[key] = (payload, f"its items cannot be fetched: {items.text}")
            else:
                yield Offer(payload, items)
        self._taker.keep_unread(unread)
