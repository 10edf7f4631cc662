"""Transfers that are out of stock at their source, and the search for another one."""

from typing import Any, NamedTuple

from peewee import fn

from oms_workers.audit_events.door import Change, Door
from oms_workers.database import connection, database_now, transaction
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.fulfilment.package_rows import NewTransfer, NewTransferItem
from oms_workers.fulfilment.states import PLAN
from oms_workers.fulfilment.transfer_sources import Choice, choose_source, sources_of
from oms_workers.isolation import guarded
from oms_workers.packages.holdings import demand_of
from oms_workers.packages.locked import LockedTransfer, lock_transfer_by_id
from oms_workers.packages.models import (
    Package,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.packages.states import TRANSFER
from oms_workers.reservations.stock import lock_and_check, reserve
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, column

RETRY_OUT_OF_STOCK_TRANSFERS = "oms.fulfilment.tasks.retry_out_of_stock_transfers"

#: Transfers that are looked up at once; each is planned in a transaction of its own.
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
    """Give each transfer that is out of stock another source, one that was not tried for its package's items.

    Returns how many were replaced; those for which no location has everything stay as they are.
    """
    counts = {"looked_at": 0, "replaced": 0}
    last = 0
    while batch := _out_of_stock_after(last):
        for transfer_id in batch:
            counts["looked_at"] += 1
            problem = f"Transfer {transfer_id} cannot be given another source"
            counts["replaced"] += guarded(_find_another_source, transfer_id, problem=problem)
            if run.should_stop():
                return counts
        last = batch[-1]
    return counts


def _find_another_source(transfer_id: int) -> bool:
    with connection():
        for _ in range(MAX_LOSSES):
            replaced = _replan(transfer_id)
            if replaced is not None:
                return replaced
    return False


def _out_of_stock_after(last: int) -> list[int]:
    """Those that have a chance: some location that was not tried has every item of it."""
    # The index transfer_orders_open holds only what is not done.
    query = (
        TransferOrder.select(TransferOrder.id)
        .join(Package)
        .where(
            among(TransferOrder.state, [TransferState.OUT_OF_STOCK]),
            TransferOrder.id > last,
            among(Package.state, _WAITING),
            fn.EXISTS(sources_of(TransferOrder.id, TransferOrder.destination)),
        )
        .order_by(TransferOrder.id)
        .limit(BATCH)
    )
    with connection():
        return column(query)


def _replan(transfer_id: int) -> bool | None:
    """Replace one transfer, in a transaction of its own; None where others took its next source's stock."""
    with transaction():
        transfer = lock_transfer_by_id(transfer_id)
        if transfer.state is not TransferState.OUT_OF_STOCK or not transfer.package.waits_for_transfer:
            return False
        choice = choose_source(transfer)
        if choice is None:
            return False
        if lock_and_check([demand_of(transfer, choice.location_id)]) != [True]:
            return None
        with Door(RETRY_OUT_OF_STOCK_TRANSFERS, database_now()) as door:
            _trace(transfer, choice, door)
            _replace(transfer, choice.location_id, door)
        return True


def _trace(transfer: LockedTransfer, choice: Choice, door: Door) -> None:
    """Keep why this source was chosen, as one more attempt at the transfer's package."""
    package, plan = transfer.package, OrderExecutionPlan
    (id_,) = plan.next_ids(1)
    last = plan.select(fn.MAX(plan.attempt)).where(plan.order == package.order_id)
    attempt = (column(last)[0] or 0) + 1
    traced = _NewPlan(id_, package.order_id, attempt, package.id, PlanState.COMPLETED, choice.context)
    door.create(PLAN, [traced], created_at=door.at)


def _replace(transfer: LockedTransfer, source_id: int, door: Door) -> None:
    """A new transfer of the same items from this source, for which the stock is locked; the old one ends."""
    package = transfer.package
    (new_id,) = TransferOrder.next_ids(1)
    before = TransferOrder.select().where(TransferOrder.package == package.id).count()
    number = f"T{package.number.removeprefix('P')}-{before + 1}"
    new = NewTransfer(new_id, number, package.id, source_id, transfer.destination_id)
    door.create(
        TRANSFER, [new], contents=[{"package": package.number}], created_at=door.at, changed_at=door.at
    )
    items = transfer.items
    brought = [
        NewTransferItem(id_, new_id, item.package_item_id, item.sku, item.quantity)
        for id_, item in zip(TransferItem.next_ids(len(items)), items, strict=True)
    ]
    TransferItem.insert_set(brought)
    reserve([item.reservation(source_id) for item in brought], reason=door.actor, at=door.at)
    superseded = Change(
        transfer.id, transfer.state, TransferState.CANCELLED, "superseded", {"transfer": number}
    )
    door.change(TRANSFER, [superseded])
