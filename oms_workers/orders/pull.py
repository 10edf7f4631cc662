"""The pull: walk through Omnitron's pages, which shift meanwhile, until a walk finds nothing new.

An acknowledged order leaves the list, and orders of the next page move to this one. A rejected order stays in
the list. So every walk goes to the last page, and the walks end when one acknowledges no order.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from oms_workers.database import UNREACHABLE, connection, is_unreachable, retry_transient
from oms_workers.orders.client import Omnitron, OmnitronError, OmnitronRefusedError
from oms_workers.orders.intake import IntakeOutcome, seen_before, store
from oms_workers.orders.parsing import key_of
from oms_workers.orders.rejections import forget_rejections, reject_unread
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

Counts = Counter[str]


def pull(client: Omnitron, run: Run, *, concurrency: int) -> dict[str, int]:
    """Store every order that Omnitron offers and acknowledge it after its commit.

    Returns how many orders were stored, updated, unchanged, rejected and acknowledged, and how many calls
    about single orders failed; Omnitron offers these orders again.
    Raises `OmnitronError` where the list itself cannot be read.
    """
    counts: Counts = Counter(stored=0, updated=0, rejected=0, acknowledged=0, failed=0)
    acknowledged: set[str] = set()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="omnitron") as pool:
        try:
            while _walk(client, run, pool, counts, acknowledged) and not run.should_stop():
                pass
        except OmnitronError:
            # Where the process has to stop, the wait was cut short: that is no failure of Omnitron.
            if run.stopped_by is None:
                raise
    return dict(counts)


def _walk(
    client: Omnitron, run: Run, pool: ThreadPoolExecutor, counts: Counts, acknowledged: set[str]
) -> int:
    """Go from the first page to the last; returns how many orders were acknowledged for the first time.

    Only these count: a hub that offers an acknowledged order again would otherwise keep the pull running.
    """
    acknowledged_before = len(acknowledged)
    page, has_next = 1, True
    seen: set[str] = set()
    while has_next:
        found = client.orders(page)
        counts["pages"] += 1
        keys = {key_of(payload) for payload in found.results}
        if found.has_next and keys <= seen:
            raise OmnitronError(
                f"GET /api/i1/orders/ has no end: page {page} names a next one and has no new order."
            )
        seen |= keys
        _take(client, run, pool, found.results, counts, acknowledged)
        page, has_next = page + 1, found.has_next
        if has_next and run.should_stop():
            break
    return len(acknowledged) - acknowledged_before


def _take(
    client: Omnitron,
    run: Run,
    pool: ThreadPoolExecutor,
    payloads: list[Any],
    counts: Counts,
    acknowledged: set[str],
) -> None:
    """Fetch the items of a page's orders, store each order, and acknowledge the stored ones."""
    with connection():
        seen = seen_before(payloads)
        unchanged = [key_of(payloads[n]) for n, known in seen.items() if known is IntakeOutcome.UNCHANGED]
        forget_rejections(unchanged)
    acknowledgements = {key: pool.submit(client.acknowledge, int(key)) for key in unchanged}
    fresh = [payload for position, payload in enumerate(payloads) if position not in seen]
    for payload, items in _with_items(client, run, pool, fresh, counts):
        key = key_of(payload)
        stored = _store(payload, items, run, counts)
        if stored is None:
            continue
        counts[stored.value] += 1
        if stored is IntakeOutcome.REJECTED:
            logger.warning("Order %s of Omnitron cannot be stored, see rejected_orders.", key)
        else:
            acknowledgements[key] = pool.submit(client.acknowledge, int(key))
    for key, acknowledgement in acknowledgements.items():
        problem = _problem_of(acknowledgement, key, counts)
        if problem is None:
            counts["acknowledged"] += 1
            acknowledged.add(key)


def _store(payload: Any, items: list[Any], run: Run, counts: Counts) -> IntakeOutcome | None:
    """What became of the order, or None where it could not be stored; the next pull tries it again."""
    try:
        with connection():
            return retry_transient(lambda: store(payload, items, now=run.now), attempts=2)
    except UNREACHABLE as error:
        if is_unreachable(error):
            raise
        logger.warning("Order %s of Omnitron has to wait: %s", key_of(payload), error)
    except Exception:
        logger.exception("Order %s of Omnitron cannot be stored.", key_of(payload))
    counts["failed"] += 1
    return None


def _with_items(
    client: Omnitron, run: Run, pool: ThreadPoolExecutor, payloads: list[Any], counts: Counts
) -> Iterator[tuple[Any, list[Any]]]:
    """Each order with its items, in the page's order.

    Orders whose items cannot be fetched are rejected, and retried on every pull.
    """
    fetches = [pool.submit(_items_of, client, payload) for payload in payloads]
    for payload, fetch in zip(payloads, fetches, strict=True):
        problem = _problem_of(fetch, key_of(payload), counts)
        if problem is None:
            yield payload, fetch.result()
        elif run.stopped_by is None:
            with connection():
                reject_unread(payload, f"its items cannot be fetched: {problem}", now=run.now)


def _items_of(client: Omnitron, payload: Any) -> list[Any]:
    """The order's items; none for an order without a usable key, which is rejected anyway."""
    key = key_of(payload)
    return client.items(int(key)) if key.isdigit() else []


def _problem_of(call: Future[Any], key: str, counts: Counts) -> str | None:
    """Why a call about one order has failed, or None where it has not."""
    try:
        call.result()
        return None
    except OmnitronRefusedError:
        raise
    except OmnitronError as error:
        problem = str(error)
        logger.warning("Order %s of Omnitron has to wait: %s", key, problem)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        logger.exception("Order %s of Omnitron has to wait.", key)
    counts["failed"] += 1
    return problem
