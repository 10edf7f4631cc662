"""Transfers: they bring missing units to the location that packs them."""

import logging
from collections.abc import Mapping

from oms_workers.database import execute, row, rows
from oms_workers.fulfilment.commands.exclusions import exclude
from oms_workers.fulfilment.commands.registry import (
    Circumstances,
    Item,
    Package,
    Request,
    Transfer,
    command,
)
from oms_workers.fulfilment.models import PackageState, TransferState
from oms_workers.fulfilment.states import Change, change_packages, change_transfers
from oms_workers.reservations.discrepancies import Meaning, block
from oms_workers.reservations.release import consume, of_transfer_items, receive, release_reservations
from oms_workers.reservations.stock import NewReservation, reserve

logger = logging.getLogger(__name__)

S = TransferState


@command("READY_TRANSFER", S.WAITING)
def ready_transfer(transfer: Transfer, request: Request, circumstances: Circumstances) -> None:
    """The source has collected its items."""
    _go(transfer, S.READY_FOR_SHIPMENT, "collected", request, circumstances)


@command("SHIP_TRANSFER", S.WAITING, S.READY_FOR_SHIPMENT)
def ship_transfer(transfer: Transfer, request: Request, circumstances: Circumstances) -> None:
    """It has left its source, where its units are not on hand any more."""
    consume(reservations_of(transfer), reason="SHIP_TRANSFER", at=circumstances.at)
    _go(transfer, S.IN_TRANSIT, "shipped", request, circumstances)


@command("DELIVER_TRANSFER", S.IN_TRANSIT)
def deliver_transfer(transfer: Transfer, request: Request, circumstances: Circumstances) -> None:
    """It has arrived: its units are on hand at the destination, reserved for its package if that lives."""
    at, items = circumstances.at, [item for _, item in items_of(transfer)]
    arrived = [(item.sku, transfer.destination_id, item.quantity) for item in items]
    receive(arrived, reason="DELIVER_TRANSFER", at=at)
    _go(transfer, S.COMPLETED, "delivered", request, circumstances)
    if not waits_for_transfer(transfer.package):
        return
    reserve(
        [NewReservation(item.sku, transfer.destination_id, item.quantity, item.id) for item in items],
        reason="DELIVER_TRANSFER",
        at=at,
    )
    if not _transfers_to_come(transfer.package):
        _let_go_on(transfer.package, circumstances)


@command("TRANSFER_OUT_OF_STOCK", S.WAITING, S.READY_FOR_SHIPMENT)
def transfer_out_of_stock(transfer: Transfer, request: Request, circumstances: Circumstances) -> None:
    """The source does not have its items: another source is looked for, and its lines go there no more."""
    items = items_of(transfer)
    release_reservations(reservations_of(transfer), reason="TRANSFER_OUT_OF_STOCK", at=circumstances.at)
    block(
        demand_of(transfer, transfer.source_id),
        request.meaning or Meaning.ALL,
        reason="TRANSFER_OUT_OF_STOCK",
        at=circumstances.at,
        lifetime=circumstances.discrepancy_lifetime,
    )
    exclude((item.order_item_id for _, item in items), transfer.source_id, circumstances)
    _go(transfer, S.OUT_OF_STOCK, "rejected", request, circumstances)


@command("TRANSFER_LOST", S.IN_TRANSIT)
def transfer_lost(transfer: Transfer, request: Request, circumstances: Circumstances) -> None:
    """It will not arrive: another source is looked for, if its package still waits."""
    state = S.OUT_OF_STOCK if waits_for_transfer(transfer.package) else S.CANCELLED
    _go(transfer, state, "lost", request, circumstances)


def _go(
    transfer: Transfer, state: TransferState, action: str, request: Request, circumstances: Circumstances
) -> None:
    content = {"package": transfer.package.number, "reason": request.reason}
    change = Change(transfer.id, transfer.state, state, action, content)
    change_transfers([change], actor=circumstances.actor, at=circumstances.at)


def items_of(transfer: Transfer) -> list[tuple[int, Item]]:
    """The transfer's items by id, each with the package's item that it is for."""
    found = rows(
        """
        SELECT transfer_items.id, package_items.id, order_item_id, transfer_items.sku, transfer_items.quantity
        FROM transfer_items
        JOIN package_items ON package_items.id = package_item_id
        WHERE transfer_id = %s
        ORDER BY transfer_items.id
        """,
        (transfer.id,),
    )
    return [(id_, Item(*item)) for id_, *item in found]


def reservations_of(transfer: Transfer) -> list[int]:
    """The live reservations that a locked transfer has at its source, by id, locked."""
    return of_transfer_items([item_id for item_id, _ in items_of(transfer)])


def demand_of(transfer: Transfer, location_id: int) -> Mapping[tuple[str, int], int]:
    """What the transfer needs if it is sent from this location."""
    demand: dict[tuple[str, int], int] = {}
    for _, item in items_of(transfer):
        key = (item.sku, location_id)
        demand[key] = demand.get(key, 0) + item.quantity
    return demand


def waits_for_transfer(package: Package) -> bool:
    """Whether the package still wants what its transfers bring."""
    waiting = PackageState.WAITING_FOR_TRANSFER
    blocked = package.state is PackageState.BLOCKED and package.blocked_from == waiting
    return package.state is waiting or blocked


def _transfers_to_come(package: Package) -> bool:
    query = "SELECT id FROM transfer_orders WHERE package_id = %s AND state NOT IN (400, 1000)"
    return row(query, (package.id,)) is not None


def _let_go_on(package: Package, circumstances: Circumstances) -> None:
    """Everything is there; a package that is blocked meanwhile goes on when it is unblocked."""
    if package.state is PackageState.BLOCKED:
        execute(
            "UPDATE packages SET blocked_from = %s WHERE id = %s", (PackageState.WAITING.value, package.id)
        )
        return
    change = Change(package.id, package.state, PackageState.WAITING, "transfers_completed")
    change_packages([change], actor=circumstances.actor, at=circumstances.at)
