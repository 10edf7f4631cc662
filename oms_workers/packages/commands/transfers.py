"""Transfers: they bring missing units to the location that packs them."""

from oms_workers.audit_events.door import Change
from oms_workers.packages.arrivals import go_on_when_complete
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.commands.registry import Option, Request, command
from oms_workers.packages.exclusions import exclude
from oms_workers.packages.holdings import demand_of, reservations_of
from oms_workers.packages.locked import LockedTransfer
from oms_workers.packages.models import TransferState
from oms_workers.packages.states import TRANSFER
from oms_workers.reservations.discrepancies import block
from oms_workers.reservations.models import Meaning
from oms_workers.reservations.release import consume, receive, release_reservations
from oms_workers.reservations.stock import NewReservation, reserve

S = TransferState


@command("READY_TRANSFER", S.WAITING)
def ready_transfer(transfer: LockedTransfer, request: Request, circumstances: Circumstances) -> None:
    """The source has collected its items."""
    _go(transfer, S.READY_FOR_SHIPMENT, "collected", request, circumstances)


@command("SHIP_TRANSFER", S.WAITING, S.READY_FOR_SHIPMENT)
def ship_transfer(transfer: LockedTransfer, request: Request, circumstances: Circumstances) -> None:
    """It has left its source, where its units are no longer on hand."""
    consume(reservations_of(transfer), reason="SHIP_TRANSFER", at=circumstances.at)
    _go(transfer, S.IN_TRANSIT, "shipped", request, circumstances)


@command("DELIVER_TRANSFER", S.IN_TRANSIT)
def deliver_transfer(transfer: LockedTransfer, request: Request, circumstances: Circumstances) -> None:
    """It has arrived: its units are on hand at the destination, reserved if its package still waits."""
    at, items = circumstances.at, [item.package_item for item in transfer.items]
    arrived = [(item.sku, transfer.destination_id, item.quantity) for item in items]
    receive(arrived, reason="DELIVER_TRANSFER", at=at)
    _go(transfer, S.COMPLETED, "delivered", request, circumstances)
    if not transfer.package.waits_for_transfer:
        return
    reserve(
        [NewReservation(item.sku, transfer.destination_id, item.quantity, item.id) for item in items],
        reason="DELIVER_TRANSFER",
        at=at,
    )
    go_on_when_complete(transfer.package, circumstances.door)


@command("TRANSFER_OUT_OF_STOCK", S.WAITING, S.READY_FOR_SHIPMENT, takes=(Option.STOCK,))
def transfer_out_of_stock(transfer: LockedTransfer, request: Request, circumstances: Circumstances) -> None:
    """The source does not have its items: another source is looked for, and its lines go there no more."""
    release_reservations(reservations_of(transfer), reason="TRANSFER_OUT_OF_STOCK", at=circumstances.at)
    block(
        demand_of(transfer, transfer.source_id),
        request.meaning or Meaning.ALL,
        reason="TRANSFER_OUT_OF_STOCK",
        at=circumstances.at,
        lifetime=circumstances.discrepancy_lifetime,
    )
    lines = [item.order_item_id for item in transfer.items]
    is_missing = request.meaning is not Meaning.NOTHING
    exclude(lines, transfer.source_id, circumstances, missing=lines if is_missing else ())
    _go(transfer, S.OUT_OF_STOCK, "rejected", request, circumstances)


@command("TRANSFER_LOST", S.IN_TRANSIT)
def transfer_lost(transfer: LockedTransfer, request: Request, circumstances: Circumstances) -> None:
    """It will not arrive: another source is looked for, if its package still waits."""
    state = S.OUT_OF_STOCK if transfer.package.waits_for_transfer else S.CANCELLED
    _go(transfer, state, "lost", request, circumstances)


def _go(
    transfer: LockedTransfer,
    state: TransferState,
    action: str,
    request: Request,
    circumstances: Circumstances,
) -> None:
    content = {"package": transfer.package.number, "reason": request.reason}
    circumstances.door.change(TRANSFER, [Change(transfer.id, transfer.state, state, action, content)])
