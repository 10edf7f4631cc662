"""Planning packages again (tasks 3 and 4): those that a location rejected, or that found no stock.

Only packages worth it are looked at: an item of theirs has become available somewhere that has not rejected
it. A package is tried once for all that comes due at the same instant, whichever task it is.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from peewee import DataError, IntegrityError

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, execute, retry_transient, transaction
from oms_workers.fulfilment.commit import commit_plans
from oms_workers.fulfilment.failed_attempts import record_failed_attempts
from oms_workers.fulfilment.models import PackageState
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import OrderToPlan, Plan
from oms_workers.fulfilment.snapshot import take_snapshot
from oms_workers.fulfilment.unplanned import Candidate, claim_packages, find_candidates
from oms_workers.isolation import in_time
from oms_workers.scheduling.run import Run

logger = logging.getLogger(__name__)

#: Packages of one transaction, and how many are looked up at once, the most urgent first.
BATCH = 200
CANDIDATES = 5_000

#: How long a batch may be planned while its orders and packages are locked; the rest is found again.
PLANNING_SECONDS = 5.0

#: How often a package may lose its stock to others before it waits for the next run.
MAX_LOSSES = 5


@dataclass
class _Replanning:
    """One run: what it looks for, on whose behalf, and what it has done."""

    run: Run
    states: tuple[PackageState, ...]
    actor: str
    max_attempts: int
    counts: Counter[str] = field(
        default_factory=lambda: Counter(looked_at=0, replanned=0, packages=0, without_success=0)
    )
    losses: Counter[int] = field(default_factory=Counter)

    def progress(self) -> int:
        return self.counts["looked_at"] + self.counts["failed"] + self.losses.total()


def replan_packages(
    run: Run, states: Sequence[PackageState], *, actor: str, max_attempts: int
) -> dict[str, int]:
    """Plan packages in these states again, until none is left that is worth it or the run has to stop.

    `max_attempts` fruitless attempts make a package unavailable; 0 is without end.
    Returns how many were looked at, replanned, into how many packages, and without success.
    """
    work = _Replanning(run, tuple(states), actor, max_attempts)
    with connection():
        while candidates := _find_candidates(work):
            before = work.progress()
            for start in range(0, len(candidates), BATCH):
                _replan(work, candidates[start : start + BATCH])
                if run.should_stop():
                    return dict(work.counts)
            if work.progress() == before:
                # Somebody else has the rest locked, and does with it what we would.
                break
    return dict(work.counts)


def _find_candidates(work: _Replanning) -> list[Candidate]:
    return find_candidates(work.states, slot=work.run.slot, now=work.run.now, limit=CANDIDATES)


def _replan(work: _Replanning, candidates: Sequence[Candidate]) -> None:
    """Plan these again, one by one where together they cannot be written."""
    try:
        retry_transient(lambda: _replan_batch(work, candidates))
    except (DataError, IntegrityError) as error:
        if len(candidates) == 1:
            _postpone(work, candidates[0].package_id, str(error))
            return
        logger.warning("A batch cannot be committed and is tried package by package: %s", error)
        for candidate in candidates:
            _replan(work, [candidate])


def _replan_batch(work: _Replanning, candidates: Sequence[Candidate]) -> None:
    counts: Counter[str] = Counter()
    with transaction():
        now = database_now()
        orders = claim_packages(candidates, work.states, work.run.slot, now)
        if not orders:
            return
        snapshot = take_snapshot({line.sku for order in orders for line in order.lines})
        plans = [
            plan
            for order in in_time(orders, PLANNING_SECONDS)
            if (plan := _plan(work, snapshot.planner, order, now)) is not None
        ]
        useful = [plan for plan in plans if plan.parcels]
        losers = commit_plans(useful, snapshot, actor=work.actor, at=now)
        tired = _count_losses(work, losers)
        fruitless = [plan for plan in plans if not plan.parcels]
        lost = {plan.order.replaces for plan in losers}
        done = [plan for plan in useful if plan.order.replaces not in lost]
        record_failed_attempts(fruitless, actor=work.actor, at=now, max_attempts=work.max_attempts)
        _mark([plan.order.replaces for plan in [*fruitless, *tired]], now)
        counts.update(
            looked_at=len(done) + len(fruitless) + len(tired),
            replanned=len(done),
            packages=sum(len(plan.parcels) for plan in done),
            without_success=len(fruitless),
        )
    work.counts.update(counts)


def _plan(work: _Replanning, planner: Planner, order: OrderToPlan, now: datetime) -> Plan | None:
    """The plan, or None where it cannot be made, or others have taken the stock since we looked."""
    try:
        return planner.plan(order) if planner.has_any_of(order) else None
    except Exception as error:
        logger.exception("Package %s of order %s cannot be planned.", order.replaces, order.id)
        work.counts["failed"] += 1
        _note_failure(work, order.replaces, f"{type(error).__name__}: {error}", now)
        return None


def _count_losses(work: _Replanning, losers: Sequence[Plan]) -> list[Plan]:
    """Those that have lost their stock so often that they wait for the next run."""
    work.losses.update(plan.order.replaces for plan in losers if plan.order.replaces)
    return [plan for plan in losers if work.losses[plan.order.replaces or 0] >= MAX_LOSSES]


def _mark(package_ids: Sequence[int | None], now: datetime) -> None:
    execute("UPDATE packages SET replanned_at = %s WHERE id = ANY(%s)", (now, [*package_ids]))


def _postpone(work: _Replanning, package_id: int, problem: str) -> None:
    """A package whose plan cannot be written has had its turn; the others go on."""
    logger.error("The plan of package %s cannot be written: %s", package_id, problem)
    work.counts["failed"] += 1
    with transaction():
        _note_failure(work, package_id, problem, database_now())


def _note_failure(work: _Replanning, package_id: int | None, problem: str, now: datetime) -> None:
    if package_id is not None:
        _mark([package_id], now)
        event = Event("package", package_id, "planning_failed", {"problem": problem})
        record([event], actor=work.actor, at=now)
