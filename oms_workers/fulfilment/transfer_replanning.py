"""Transfers that are out of stock at their source, and the search for another one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.audit_events.door import Change, Door
from oms_workers.database import connection, database_now, transaction
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.fulfilment.package_rows import NewTransfer, NewTransferItem
from oms_workers.fulfilment.planner_input import read_planned_locations
from oms_workers.fulfilment.planning.plans import LineToPlan
from oms_workers.fulfilment.scenarios import active_scenarios
from oms_workers.fulfilment.states import PLAN
from oms_workers.fulfilment.transfer_sources import Choice, Outlook, Sources
from oms_workers.isolation import guarded
from oms_workers.packages.arrivals import go_on_when_complete
from oms_workers.packages.circumstances import acting, exclusion_of_locations
from oms_workers.packages.holdings import give_back
from oms_workers.packages.locked import LockedTransfer, lock_transfer_by_id
from oms_workers.packages.models import (
    Package,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.reservations.stock import NewReservation, lock_and_check, reserve
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, column

RETRY_OUT_OF_STOCK_TRANSFERS = "oms.fulfilment.tasks.retry_out_of_stock_transfers"

#: Transfers that are looked at together, with the scenarios and locations of one moment. What can be done
#: about one is done in a transaction of its own.
BATCH = 500

#: How often a transfer may lose the stock of its next source to others before it waits for the next run.
MAX_LOSSES = 5

#: States of packages that still wait for their transfers.
_WAITING = (PackageState.WAITING_FOR_TRANSFER, PackageState.BLOCKED)


class _NewPlan(NamedTuple):
    id: int
    order_id: int
    attempt: int
    package_id: int
    state: PlanState
    context: dict[str, Any]


def replan_transfers(run: Run) -> dict[str, int]:
    """Give each transfer that is out of stock other sources, or let its package be planned again.

    Returns how many could be helped, how many were replaced, and how many packages need another plan, since
    no location is left to wait for. A transfer that a location may still be able to send stays.
    """
    counts = {"looked_at": 0, "replaced": 0, "needs_replan": 0}
    last = 0
    with connection():
        while batch := _out_of_stock_after(last):
            sources = _read_sources(run.now)
            for transfer_id, found in sources.look(batch).items():
                if found is Outlook.LATER:
                    continue
                counts["looked_at"] += 1
                problem = f"Transfer {transfer_id} cannot be given another source"
                work = _find_other_sources if isinstance(found, Choice) else _give_up
                done = "replaced" if isinstance(found, Choice) else "needs_replan"
                counts[done] += guarded(work, transfer_id, sources, problem=problem)
                if run.should_stop():
                    return counts
            last = batch[-1]
            if run.should_stop():
                break
    return counts


def _read_sources(now: datetime) -> Sources:
    return Sources(read_planned_locations(), active_scenarios(), now, exclusion_of_locations())


def _out_of_stock_after(last: int) -> list[int]:
    # The index transfer_orders_open holds only what is not done.
    query = (
        TransferOrder.select(TransferOrder.id)
        .join(Package)
        .where(
            among(TransferOrder.state, [TransferState.OUT_OF_STOCK]),
            TransferOrder.id > last,
            among(Package.state, _WAITING),
        )
        .order_by(TransferOrder.id)
        .limit(BATCH)
    )
    return column(query)


def _find_other_sources(transfer_id: int, sources: Sources) -> bool:
    for _ in range(MAX_LOSSES):
        replaced = _replan(transfer_id, sources)
        if replaced is not None:
            return replaced
    return False


def _replan(transfer_id: int, sources: Sources) -> bool | None:
    """Replace one transfer, in a transaction of its own; None where others took its next source's stock."""
    with transaction():
        transfer = lock_transfer_by_id(transfer_id)
        if not _needs_a_source(transfer):
            return False
        choice = sources.look([transfer_id])[transfer_id]
        if not isinstance(choice, Choice):
            return False
        if lock_and_check([_demand(choice)]) != [True]:
            return None
        with Door(RETRY_OUT_OF_STOCK_TRANSFERS, database_now()) as door:
            _trace(transfer, choice, door)
            _replace(transfer, choice, door)
        return True


def _give_up(transfer_id: int, sources: Sources) -> bool:
    """Let the package be planned again, with all that it holds given back: no source is left to wait for."""
    with transaction(), acting(RETRY_OUT_OF_STOCK_TRANSFERS, database_now()) as circumstances:
        transfer = lock_transfer_by_id(transfer_id)
        package = transfer.package
        # One that is blocked is left until it goes on.
        if not _needs_a_source(transfer) or package.state is not PackageState.WAITING_FOR_TRANSFER:
            return False
        if sources.look([transfer_id])[transfer_id] is not Outlook.SPENT:
            return False
        give_back(package, "sources_spent", circumstances)
        content = {"transfer": transfer.number, "reason": Outlook.SPENT.value}
        change = Change(package.id, package.state, PackageState.NEEDS_REPLAN, "sources_spent", content)
        circumstances.door.change(PACKAGE, [change])
        return True


def _needs_a_source(transfer: LockedTransfer) -> bool:
    return transfer.state is TransferState.OUT_OF_STOCK and transfer.package.waits_for_transfer


def _demand(choice: Choice) -> dict[tuple[str, int], int]:
    demand: dict[tuple[str, int], int] = {}
    for location_id, lines in choice.parts:
        for line in lines:
            demand[line.sku, location_id] = demand.get((line.sku, location_id), 0) + line.quantity
    return demand


def _trace(transfer: LockedTransfer, choice: Choice, door: Door) -> None:
    """Keep why these sources were chosen, as one more attempt at the transfer's package."""
    package, plan = transfer.package, OrderExecutionPlan
    (id_,) = plan.next_ids(1)
    last = plan.select(fn.MAX(plan.attempt)).where(plan.order == package.order_id)
    attempt = (column(last)[0] or 0) + 1
    traced = _NewPlan(id_, package.order_id, attempt, package.id, PlanState.COMPLETED, choice.context)
    door.create(PLAN, [traced], created_at=door.at)


def _replace(transfer: LockedTransfer, choice: Choice, door: Door) -> None:
    """New transfers of the same items, for which the stock is locked; the old one ends.

    What the destination has by itself is reserved there.
    """
    package, at_home = transfer.package, transfer.destination_id
    numbers = _add_transfers(
        transfer, [(source, lines) for source, lines in choice.parts if source != at_home], door
    )
    own = [line for source, lines in choice.parts if source == at_home for line in lines]
    found = [NewReservation(line.sku, at_home, line.quantity, line.order_item_id) for line in own]
    reserve(found, reason=door.actor, at=door.at)
    content = {"transfer": ", ".join(numbers)} if numbers else {"found_at": "its destination"}
    ended = Change(transfer.id, transfer.state, TransferState.CANCELLED, "superseded", content)
    door.change(TRANSFER, [ended])
    go_on_when_complete(package, door)


def _add_transfers(
    transfer: LockedTransfer, parts: Sequence[tuple[int, Sequence[LineToPlan]]], door: Door
) -> list[str]:
    """Write a transfer for each source with its lines, and reserve them there; returns their numbers."""
    package = transfer.package
    before = TransferOrder.select().where(TransferOrder.package == package.id).count()
    new = [
        NewTransfer(
            id_,
            f"T{package.number.removeprefix('P')}-{before + position}",
            package.id,
            source_id,
            transfer.destination_id,
        )
        for position, (id_, (source_id, _)) in enumerate(
            zip(TransferOrder.next_ids(len(parts)), parts, strict=True), start=1
        )
    ]
    if not new:
        return []
    owners = [{"package": package.number}] * len(new)
    door.create(TRANSFER, new, contents=owners, created_at=door.at, changed_at=door.at)
    lines = [(added, line) for added, (_, own) in zip(new, parts, strict=True) for line in own]
    brought = [
        (added.source_id, NewTransferItem(id_, added.id, line.order_item_id, line.sku, line.quantity))
        for id_, (added, line) in zip(TransferItem.next_ids(len(lines)), lines, strict=True)
    ]
    TransferItem.insert_set([item for _, item in brought])
    reserve([item.reservation(source_id) for source_id, item in brought], reason=door.actor, at=door.at)
    return [added.number for added in new]
