"""Asking Omnitron for rejected orders by their keys: what it does not offer, or a person wants tried now."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from oms_workers.database import connection
from oms_workers.orders.acknowledgement import read_order
from oms_workers.orders.client import Omnitron
from oms_workers.orders.intake import Offer, stored_keys
from oms_workers.orders.parsing import raw_modification_of
from oms_workers.orders.rejections import (
    Reject,
    RejectedVersion,
    due_rejections,
    forget_rejections,
    put_off,
    reject,
    rejected_versions,
)
from oms_workers.orders.taking import Problem, Taker
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

#: Rejects that one run asks for by their keys; the others are still due at the next.
MOST_ASKED_FOR = 100

#: What is said of an order that the hub does not have, or has cancelled or refunded.
GONE = "gone"

_TAKEN_ELSEWHERE = (
    "Omnitron says that somebody has acknowledged it already;"
    " `oms rejects --retry` takes it all the same, and `--dismiss` leaves it"
)


def ask_for_due(taker: Taker, *, offered: Sequence[str]) -> None:
    """Ask for the rejects that are due and that the hub does not offer any more, after a whole walk."""
    with connection():
        due = due_rejections(except_for=offered, now=taker.run.now, limit=MOST_ASKED_FOR)
        known = rejected_versions(due)
    if not due:
        return
    found = _offers(_read(taker, due))
    with connection():
        left = {key: offer for key, offer in found.items() if _is_left(offer, known[key])}
        put_off([*left], now=taker.run.now)
        # Somebody else has acknowledged these; the ones that we have were acknowledged by us.
        sent = [
            key for key, offer in found.items() if key not in left and offer.payload.get("is_send") is True
        ]
        had = stored_keys(sent)
        elsewhere = [key for key in sent if key not in had]
        rejects = [Reject(*found[key], reason=_TAKEN_ELSEWHERE) for key in elsewhere]
        reject(rejects, now=taker.run.now)
    taker.take(offer for key, offer in found.items() if key not in left and key not in elsewhere)


def retry(client: Omnitron, run: Run, keys: Sequence[str]) -> dict[str, str]:
    """Ask for these orders now; returns what became of each: an `IntakeOutcome`, `GONE`, or what is wrong."""
    with ThreadPoolExecutor(1, thread_name_prefix="omnitron") as threads:
        taker = Taker(client, run, threads)
        read = _read(taker, keys)
        outcomes = taker.take(_offers(read).values())
    problems = {key: found.text for key, found in read.items() if isinstance(found, Problem)}
    return {**dict.fromkeys(keys, GONE), **problems, **outcomes}


def _read(taker: Taker, keys: Sequence[str]) -> Mapping[str, Offer | Problem | None]:
    """The orders as the hub has them now; what is gone is forgotten, and what cannot be read is put off."""
    read = taker.call(keys, lambda key: read_order(taker.client, int(key)))
    failed = [key for key, found in read.items() if isinstance(found, Problem)]
    gone = [key for key, found in read.items() if found is None]
    with connection():
        put_off(failed, now=taker.run.now)
        forget_rejections(gone)
    for key in gone:
        logger.info("The rejected order %s is cancelled in Omnitron, or gone from it.", key)
    return read


def _offers(read: Mapping[str, Offer | Problem | None]) -> dict[str, Offer]:
    return {key: found for key, found in read.items() if isinstance(found, Offer)}


def _is_left(offer: Offer, known: RejectedVersion) -> bool:
    """Whether a person has dismissed this version of the order."""
    return known.dismissed_at is not None and raw_modification_of(offer.payload) == known.modified_at
