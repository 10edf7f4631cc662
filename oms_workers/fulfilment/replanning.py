"""Planning packages again: those that a location rejected, or that found no stock.

Only packages worth it are looked at: an item of theirs has become available somewhere that has not rejected
it. A package is tried once for all tasks that come due at the same instant.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from oms_workers.audit_events.door import Door
from oms_workers.fulfilment.batches import Progress, Source, plan_in_batches
from oms_workers.fulfilment.candidates import (
    Candidate,
    claim_orders,
    claim_packages,
    find_candidates,
    look_at_orders,
    look_at_packages,
)
from oms_workers.fulfilment.failed_attempts import record_failed_attempts
from oms_workers.fulfilment.line_up import Key
from oms_workers.fulfilment.orders_to_plan import (
    ClaimedOrder,
    ClaimedPackage,
    demand_of_packages,
    read_packages,
)
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan, Plan
from oms_workers.packages.models import Package, PackageState
from oms_workers.packages.states import PACKAGE
from oms_workers.scheduling.run import Run
from oms_workers.sets import one_of

#: Packages of one transaction, and how many are looked up at once, the most urgent first.
BATCH = 200
CANDIDATES = 5_000


def replan_packages(
    run: Run,
    states: Sequence[PackageState],
    *,
    actor: str,
    max_attempts: int,
    skus: Sequence[str] | None = None,
) -> dict[str, int]:
    """Plan packages in these states again, until none is left that is worth it or the run has to stop.

    `max_attempts` fruitless attempts make a package unavailable; 0 is without end. `skus` are those for which
    a package has to wait; None is any.
    Returns how many were looked at, replanned, into how many packages, and without success.
    """
    progress = new_progress()
    source = UnplannedPackages(run, tuple(states), actor, max_attempts, progress, skus=skus)
    return plan_in_batches(run, source, progress)


def new_progress() -> Progress:
    """The progress of a run that plans packages again, and has not begun."""
    return Progress(Counter(looked_at=0, replanned=0, packages=0, without_success=0))


class UnplannedPackages(Source):
    """The packages that wait for another plan and have a chance, looked up some thousands at a time."""

    def __init__(
        self,
        run: Run,
        states: Sequence[PackageState],
        actor: str,
        max_attempts: int,
        progress: Progress,
        *,
        skus: Sequence[str] | None = None,
    ) -> None:
        self.actor = actor
        self._slot = run.slot
        self._now = run.now
        self._states = states
        self._max_attempts = max_attempts
        self._progress = progress
        self._skus = skus
        self._candidates: list[Candidate] = []
        self._passed_over: list[Candidate] = []
        self._limit = 0
        self._orders: dict[int, ClaimedOrder] = {}
        self._packages: list[ClaimedPackage] = []
        self._done_before = -1

    @property
    def batch(self) -> int:  # type: ignore[override]
        return BATCH

    def look(self) -> bool:
        """Search again when all candidates were walked through, unless the last ones have brought nothing.

        Then other workers have them locked, and will plan them.
        """
        done = self._done()
        if not self._candidates and done != self._done_before:
            self._candidates, self._passed_over = self._find(), []
            self._done_before = done
        return bool(self._candidates)

    def claim(self, limit: int, now: datetime) -> Sequence[Key]:  # noqa: ARG002
        self._limit = limit
        candidates = self._candidates[:limit]
        self._orders = claim_orders(sorted({candidate.order_id for candidate in candidates}))
        self._packages = claim_packages(candidates, [*self._orders], self._states, self._slot)
        return [(package.order_id, package.id) for package in self._packages]

    def read(self, now: datetime) -> list[OrderToPlan]:
        return read_packages(self._packages, self._orders, now)

    def line_up(self, most: int, now: datetime) -> Sequence[Key]:  # noqa: ARG002
        """What was found before it and others had locked is ahead."""
        claimed = {package.id for package in self._packages}
        looked_at = [*self._passed_over[-most:], *self._candidates[: self._limit]]
        last = max((n for n, each in enumerate(looked_at) if each.package_id in claimed), default=-1)
        return [(each.order_id, each.package_id) for each in looked_at[: last + 1]]

    def demand_of(self, keys: Sequence[Key]) -> Mapping[str, int]:
        return demand_of_packages([id_ for _, id_ in keys if id_ is not None])

    def read_others(self, keys: Sequence[Key], now: datetime) -> list[OrderToPlan]:
        candidates = [
            Candidate(package_id, order_id) for order_id, package_id in keys if package_id is not None
        ]
        orders = look_at_orders([candidate.order_id for candidate in candidates])
        packages = look_at_packages(candidates, [*orders], self._states, self._slot)
        return read_packages(packages, orders, now)

    def advance(self, limit: int) -> None:
        """What the batch did not come to is next."""
        walked, claimed = self._candidates[:limit], {package.id for package in self._packages}
        left = {package.id for package in self._packages[self._progress.reached :]}
        self._passed_over += [each for each in walked if each.package_id not in claimed]
        unreached = [each for each in walked if each.package_id in left]
        self._candidates = [*unreached, *self._candidates[limit:]]

    def width(self, limit: int) -> int:
        return len(self._candidates[:limit])

    def _find(self) -> list[Candidate]:
        return find_candidates(
            self._states, slot=self._slot, now=self._now, limit=CANDIDATES, skus=self._skus
        )

    def _done(self) -> int:
        counts, losses = self._progress.counts, self._progress.losses
        return counts["looked_at"] + counts["failed"] + losses.total()

    def count_waiting(self) -> int:
        return len(self._candidates)

    def is_worth_planning(self, planner: Planner, order: OrderToPlan) -> bool:
        """Others may have taken the stock since we looked."""
        return planner.has_any_of(order)

    def places(self, plan: Plan) -> bool:
        """A package of which nothing can be placed stays as it is."""
        return bool(plan.parcels)

    def finish(self, door: Door, written: Sequence[Plan], fruitless: Sequence[Plan]) -> Counter[str]:
        record_failed_attempts(fruitless, door, max_attempts=self._max_attempts)
        _mark([plan.order.key for plan in fruitless], door.at)
        return Counter(
            looked_at=len(written) + len(fruitless),
            replanned=len(written),
            packages=sum(len(plan.parcels) for plan in written),
            without_success=len(fruitless),
        )

    def give_up(self, door: Door, losers: Sequence[Plan]) -> Counter[str]:
        """They wait for the next run."""
        _mark([plan.order.key for plan in losers], door.at)
        return Counter(looked_at=len(losers))

    def put_off(self, door: Door, key: Key, problem: str) -> None:
        """It has had its turn; the others go on."""
        _mark([key], door.at)
        _, package_id = key
        if package_id is not None:
            door.note(PACKAGE, package_id, "planning_failed", {"problem": problem})


def _mark(keys: Sequence[Key], at: datetime) -> None:
    """Note that these packages were tried; a run that is due at the same instant leaves them."""
    ids = [package_id for _, package_id in keys]
    if ids:
        Package.update({Package.replanned_at: at}).where(one_of(Package.id, ids)).execute()
