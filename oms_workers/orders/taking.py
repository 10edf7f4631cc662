"""Taking orders over from Omnitron: store them, acknowledge them, and take what was changed in between.

Threads make the calls to Omnitron. Only the run's own thread has a connection to PostgreSQL.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from oms_workers.database import connection
from oms_workers.orders.acknowledgement import Acknowledged, acknowledge, read_order
from oms_workers.orders.client import Omnitron, OmnitronError, OmnitronRefusedError
from oms_workers.orders.intake import IntakeOutcome, Offer, store_all
from oms_workers.orders.parsing import key_of
from oms_workers.orders.rejections import Reject, reject
from oms_workers.scheduling.run import Run

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: How often an order is taken that the hub changes again before it is acknowledged. The last version that was
#: read is stored then, and not compared again.
MOST_VERSIONS = 3

#: What becomes of an order that we have, in the hub's version.
_HAD = (IntakeOutcome.STORED, IntakeOutcome.UPDATED, IntakeOutcome.UNCHANGED)


class Problem(NamedTuple):
    """Why a call about one order has failed."""

    text: str


_Answer = Acknowledged | OmnitronRefusedError | Problem


class Taker:
    """What one run takes over: `counts`, and the keys of the orders that it has `acknowledged`."""

    def __init__(self, client: Omnitron, run: Run, threads: ThreadPoolExecutor) -> None:
        self.client = client
        self.run = run
        self.counts = Counter(stored=0, updated=0, rejected=0, acknowledged=0, failed=0)
        self.acknowledged: set[str] = set()
        self._threads = threads

    def take(self, offers: Iterable[Offer]) -> dict[str, IntakeOutcome]:
        """Store orders, and acknowledge what is stored; returns what became of each, by its key."""
        by_key = {key_of(offer.payload): offer for offer in offers}
        outcomes = self._store(by_key)
        older = [key for key, outcome in outcomes.items() if outcome is IntakeOutcome.OLDER]
        if older:
            # Its date went back, or it came late: only the hub knows which.
            again = self._read_again(older)
            by_key |= again
            outcomes |= self._store(again, is_confirmed=True)
        self.acknowledge({key: by_key[key] for key, outcome in outcomes.items() if outcome in _HAD})
        return outcomes

    def acknowledge(self, offers: Mapping[str, Offer]) -> None:
        """Acknowledge orders that are stored in these versions, and store the newer ones that the hub has."""
        for _ in range(MOST_VERSIONS):
            if not offers:
                return
            answers = self._acknowledge(offers)
            newer = self._note_acknowledged(answers)
            outcomes = self._store(newer, is_confirmed=True)
            for answer in answers.values():
                if isinstance(answer, OmnitronRefusedError):
                    raise answer
            offers = {key: newer[key] for key, outcome in outcomes.items() if outcome in _HAD}

    def call(self, keys: Iterable[str], work: Callable[[str], T]) -> dict[str, T | Problem]:
        """What `work` returns for each key, in threads; a call that fails stops no other.

        Raises `OmnitronRefusedError`, since nothing more can be asked then.
        """
        calls: dict[str, Future[T]] = {key: self._threads.submit(work, key) for key in keys}
        answers: dict[str, T | Problem] = {}
        for key, call in calls.items():
            answer = self._answer_of(call, key)
            answers[key] = answer
        return answers

    def keep_unread(self, problems: Mapping[str, tuple[object, str]]) -> None:
        """Keep orders that could not be read whole: by its key, what is known of each, and the problem."""
        if self.run.stopped_by is None:
            self._keep(problems)

    def _keep(self, problems: Mapping[str, tuple[object, str]]) -> None:
        rejects = [
            Reject(payload, [], problem, is_unread=True, key=key)
            for key, (payload, problem) in problems.items()
        ]
        if rejects:
            with connection():
                reject(rejects, now=self.run.now)

    def _store(self, offers: Mapping[str, Offer], *, is_confirmed: bool = False) -> dict[str, IntakeOutcome]:
        if not offers:
            return {}
        with connection():
            stored = store_all([*offers.values()], now=self.run.now, is_confirmed=is_confirmed)
        outcomes = dict(zip(offers, stored, strict=True))
        self.counts.update(outcome.value for outcome in stored if outcome is not IntakeOutcome.OLDER)
        for key, outcome in outcomes.items():
            if outcome is IntakeOutcome.REJECTED:
                logger.warning("Order %s of Omnitron cannot be stored; see `oms rejects`.", key)
        return outcomes

    def _acknowledge(self, offers: Mapping[str, Offer]) -> dict[str, _Answer]:
        def work(key: str) -> Acknowledged | OmnitronRefusedError:
            try:
                return acknowledge(self.client, int(key), offers[key])
            except OmnitronRefusedError as error:
                # What the others have found out is noted first.
                return error

        return {**self.call(offers, work)}

    def _read_again(self, keys: Iterable[str]) -> dict[str, Offer]:
        read = self.call(keys, lambda key: read_order(self.client, int(key)))
        return {key: found for key, found in read.items() if isinstance(found, Offer)}

    def _note_acknowledged(self, answers: Mapping[str, _Answer]) -> dict[str, Offer]:
        """Count what was acknowledged; returns the newer versions, by their keys."""
        newer, unread = {}, {}
        for key, answer in answers.items():
            if not isinstance(answer, Acknowledged):
                if key in self.acknowledged:
                    # Omnitron does not offer it again, and what was stored last was never compared.
                    why = answer.text if isinstance(answer, Problem) else str(answer)
                    unread[key] = (None, f"it was changed while it was stored: {why}")
                continue
            if answer.is_taken and key not in self.acknowledged:
                self.counts["acknowledged"] += 1
                self.acknowledged.add(key)
            if answer.newer is not None:
                newer[key] = answer.newer
            elif answer.problem is not None:
                self._note_failure(key, answer.problem)
                unread[key] = (
                    None,
                    f"it was changed while it was stored, and cannot be read: {answer.problem}",
                )
        # Also where the run has to stop: Omnitron has the acknowledgement, and offers them no more.
        self._keep(unread)
        return newer

    def _answer_of(self, call: Future[T], key: str) -> T | Problem:
        try:
            return call.result()
        except OmnitronRefusedError:
            raise
        except OmnitronError as error:
            problem = str(error)
            self._note_failure(key, problem)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            self.counts["failed"] += 1
            logger.exception("Order %s of Omnitron has to wait.", key)
        return Problem(problem)

    def _note_failure(self, key: str, problem: str) -> None:
        self.counts["failed"] += 1
        logger.warning("Order %s of Omnitron has to wait: %s", key, problem)
