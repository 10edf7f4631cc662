"""The runs that this process has in its hands, and which of them other processes have taken over."""

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # The module of the rows looks at the locks, and these at what is at work.
    from oms_workers.scheduling.runs import Attempt


class OwnRow(NamedTuple):
    """A running row that carries this process's id, as PostgreSQL has it."""

    id: int
    attempts: int
    started_at: datetime


class AtWork:
    """An attempt is in our hands from its claim to the record of its end, and at work until it returns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[Attempt] = set()
        self._working: set[Attempt] = set()
        self._taken: set[Attempt] = set()

    def begin(self, attempt: "Attempt") -> None:
        with self._lock:
            self._held.add(attempt)
            self._working.add(attempt)

    def returned(self, attempt: "Attempt") -> None:
        """Its work is over, and its end is yet to be recorded."""
        with self._lock:
            self._working.discard(attempt)

    def end(self, attempt: "Attempt") -> None:
        with self._lock:
            for attempts in (self._held, self._working, self._taken):
                attempts.discard(attempt)

    def held(self) -> "frozenset[Attempt]":
        with self._lock:
            return frozenset(self._held)

    def working_on(self, task: str) -> "frozenset[Attempt]":
        with self._lock:
            return frozenset(attempt for attempt in self._working if attempt.task == task)

    def lose(self, attempts: "Iterable[Attempt]") -> None:
        """These belong to other processes now, and stop at their next batch."""
        with self._lock:
            self._taken |= self._held & {*attempts}

    def keep(self, held: "Iterable[Attempt]", own: Iterable[OwnRow]) -> None:
        """Of what was held before PostgreSQL was asked, lose the attempts that have no row any more."""
        rows = {*own}
        self.lose(
            attempt
            for attempt in held
            if OwnRow(attempt.id, attempt.attempts, attempt.started_at) not in rows
        )

    def is_taken(self, attempt: "Attempt") -> bool:
        with self._lock:
            return attempt in self._taken


#: What this process has in its hands.
AT_WORK = AtWork()
