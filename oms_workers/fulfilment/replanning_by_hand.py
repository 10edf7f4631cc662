"""Planning packages again that a person names, now and whatever the schedule says.

They are planned by the rules of `replanning`, but for one: it does not matter whether an attempt may differ
from the last one. An attempt by hand never makes a package unavailable.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from oms_workers.audit_events.door import name_of
from oms_workers.database import connection, database_now
from oms_workers.errors import OmsError
from oms_workers.fulfilment.batches import WAITING_FOR_DEFAULT_LOCATION, Progress, plan_in_batches
from oms_workers.fulfilment.candidates import Candidate
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.fulfilment.planner_input import NoDefaultLocationError
from oms_workers.fulfilment.replanning import UnplannedPackages, new_progress
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.orders.models import Order, OrderState
from oms_workers.orders.naming import is_called, refuse_ambiguity
from oms_workers.packages.closed_locations import find_closed_location, let_leave
from oms_workers.packages.models import (
    UNPLANNED_STATES,
    Package,
    PackageState,
    TransferOrder,
    TransferState,
)
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, columns_of, fetch, one_of

#: Longer than planning all that a command line can name takes.
BUDGET = timedelta(minutes=5)


class NothingToReplanError(OmsError):
    """What is named does not wait for another plan."""


class Replanned(NamedTuple):
    """A package that was named, directly or with its order, and the packages that have replaced it.

    Without any, `outcome` says why it still waits.
    """

    number: str
    outcome: str
    packages: tuple[str, ...]


class _Named(NamedTuple):
    id: int
    order_id: int
    number: str
    state: PackageState
    replan_attempts: int
    order_state: OrderState


class _Stopped(NamedTuple):
    number: str
    state: TransferState
    package_id: int


class _Replacement(NamedTuple):
    replaced: int
    number: str


class NamedPackages(UnplannedPackages):
    """These packages, whether or not an attempt has a chance to differ from the last."""

    def __init__(self, run: Run, named: Sequence[_Named], actor: str, progress: Progress) -> None:
        super().__init__(run, UNPLANNED_STATES, actor, 0, progress)
        self._named = [Candidate(package.id, package.order_id) for package in named]

    def _find(self) -> list[Candidate]:
        return [*self._named]


def replan_by_hand(names: Sequence[str], *, actor: str) -> list[Replanned]:
    """Plan these packages now, by number, or those of these orders that wait for another plan.

    Raises `NothingToReplanError` where one of the names has nothing that waits, `AmbiguousOrderError` where
    one may mean several orders, and `NoDefaultLocationError`. Then nothing has changed.
    """
    with connection():
        named = {package.id: package for name in dict.fromkeys(names) for package in _find(name)}
        _plan(Run(database_now(), budget=BUDGET), named, actor)
        return _outcomes(named)


def replan_location(code: str, *, actor: str) -> list[Replanned]:
    """Send elsewhere what waits at a location that is switched off, and say what became of each.

    That are its packages that nobody has begun with, and the transfers that it should send. A package whose
    transfer finds no other source is planned again too. What finds no other place waits for another plan.
    Raises `NotSwitchedOffError`, and `NoDefaultLocationError` after all have left.
    """
    with connection():
        now = database_now()
        left, stopped = let_leave(find_closed_location(code), actor=actor, at=now)
        run = Run(database_now(), budget=BUDGET)
        replan_transfers(run)
        transfers = _stopped(stopped)
        ids = [*left, *(transfer.package_id for transfer in transfers)]
        named = {package.id: package for package in _select(one_of(Package.id, ids)) if _waits(package)}
        _plan(run, named, actor)
        of_packages = dict(zip(named, _outcomes(named), strict=True))
        return [
            *of_packages.values(),
            *(_outcome_of_transfer(transfer, of_packages.get(transfer.package_id)) for transfer in transfers),
        ]


def _plan(run: Run, named: Mapping[int, _Named], actor: str) -> None:
    progress = new_progress()
    counts = plan_in_batches(run, NamedPackages(run, [*named.values()], actor, progress), progress)
    if WAITING_FOR_DEFAULT_LOCATION in counts:
        raise NoDefaultLocationError


def _stopped(transfer_ids: Sequence[int]) -> list[_Stopped]:
    query = TransferOrder.select(*columns_of(TransferOrder, _Stopped))
    return fetch(query.where(one_of(TransferOrder.id, transfer_ids)).order_by(TransferOrder.id), _Stopped)


def _outcome_of_transfer(transfer: _Stopped, package: Replanned | None) -> Replanned:
    """`package` is what became of its package, where that needed another plan since no source was left."""
    if package is not None:
        return package._replace(number=transfer.number)
    if transfer.state is TransferState.OUT_OF_STOCK:
        outcome = "still out_of_stock: the other locations do not have all of it"
        return Replanned(transfer.number, outcome, ())
    return Replanned(transfer.number, "replanned", ())


def _find(name: str) -> list[_Named]:
    packages = _select(Package.number == name)
    if not packages:
        refuse_ambiguity(name)
    unplanned = [package for package in packages or _select(is_called(name)) if _waits(package)]
    if unplanned:
        return unplanned
    states = ", ".join(name_of(state) for state in UNPLANNED_STATES)
    if packages:
        raise NothingToReplanError(
            f"{name} is {name_of(packages[0].state)}; only a package that is {states} waits for another plan."
        )
    raise NothingToReplanError(
        f"No package {name!r}, and no order with packages that are {states}; see `oms explain {name}`."
    )


def _waits(package: _Named) -> bool:
    return package.state in UNPLANNED_STATES and package.order_state is OrderState.PLANNED


def _select(condition: object) -> list[_Named]:
    columns = (Package.id, Package.order, Package.number, Package.state, Package.replan_attempts)
    query = Package.select(*columns, Order.state.alias("order_state")).join(Order).where(condition)
    return fetch(query.order_by(Package.id), _Named)


def _outcomes(named: dict[int, _Named]) -> list[Replanned]:
    now = {package.id: package for package in _select(one_of(Package.id, [*named]))}
    replacements: dict[int, list[str]] = {}
    for found in _replacements([*named]):
        replacements.setdefault(found.replaced, []).append(found.number)
    return [
        Replanned(before.number, _outcome(before, now[id_], replaced), tuple(replaced))
        for id_, before in named.items()
        for replaced in [replacements.get(id_, [])]
    ]


def _outcome(before: _Named, after: _Named, replaced: Sequence[str]) -> str:
    if replaced:
        return "replanned"
    if after.state not in UNPLANNED_STATES:
        return f"{name_of(after.state)} by now"
    if after.replan_attempts > before.replan_attempts:
        return f"still {name_of(after.state)}: no rule could place it"
    return f"still {name_of(after.state)}: nothing of it is available, or another process works on its order"


def _replacements(package_ids: Sequence[int]) -> list[_Replacement]:
    """The packages of the plans that replaced these, by the index order_execution_plans_package."""
    plan = OrderExecutionPlan
    query = (
        plan.select(plan.package_id.alias("replaced"), Package.number)
        .join(Package, on=Package.plan_id == plan.id)
        .where(one_of(plan.package_id, package_ids), among(plan.state, [PlanState.COMPLETED]))
        .order_by(Package.id)
    )
    return fetch(query, _Replacement)
