"""What a package holds of the stock: its own reservations and those of the transfers that it waits for."""

from typing import NamedTuple

from peewee import fn

from oms_workers.audit_events.door import Change
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.locked import LockedPackage, LockedTransfer
from oms_workers.packages.models import (
    TRANSFERS_AT_SOURCE,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.packages.states import TRANSFER
from oms_workers.reservations.models import Reservation
from oms_workers.reservations.release import of_package_items, of_transfer_items, release_reservations
from oms_workers.sets import among, column, fetch, for_change, one_of

#: Transfers that can be stopped: their goods have not left their source.
STOPPABLE = (*TRANSFERS_AT_SOURCE, TransferState.OUT_OF_STOCK)


class _TransferRow(NamedTuple):
    id: int
    state: TransferState


class Holdings(NamedTuple):
    """A package's reservations, those of its transfers that can be stopped, and these transfers, locked."""

    own: list[int]
    brought: list[int]
    transfers: list[_TransferRow]


class _Units(NamedTuple):
    sku: str
    units: int


def held_by(package: LockedPackage) -> list[int]:
    """The live reservations of a locked package, by id."""
    return of_package_items([item.id for item in package.items])


def units_held_by(package: LockedPackage) -> dict[str, int]:
    """The units by sku that a locked package has reserved at its own location."""
    query = (
        Reservation.select(Reservation.sku, fn.SUM(Reservation.quantity).cast("int").alias("units"))
        .where(one_of(Reservation.id, held_by(package)))
        .group_by(Reservation.sku)
    )
    return dict(fetch(query, _Units))


def give_back(package: LockedPackage, reason: str, circumstances: Circumstances) -> None:
    """Release all that a locked package holds, and stop its transfers where they have not been sent.

    What is on its way arrives, and is on hand at its destination for others.
    """
    holdings = lock_holdings(package)
    release_reservations([*holdings.own, *holdings.brought], reason=reason, at=circumstances.at)
    content = {"reason": reason}
    circumstances.door.change(
        TRANSFER,
        [
            Change(each.id, each.state, TransferState.CANCELLED, "cancelled", content)
            for each in holdings.transfers
        ],
    )


def lock_holdings(package: LockedPackage) -> Holdings:
    """All that a locked package holds, itself and through its transfers."""
    query = (
        TransferOrder.select(TransferOrder.id, TransferOrder.state)
        .where(TransferOrder.package == package.id, among(TransferOrder.state, STOPPABLE))
        .order_by(TransferOrder.id)
    )
    transfers = fetch(for_change(query), _TransferRow)
    ids = [transfer.id for transfer in transfers]
    brought = column(TransferItem.select(TransferItem.id).where(one_of(TransferItem.transfer, ids)))
    return Holdings(held_by(package), of_transfer_items(brought), transfers)


def reservations_of(transfer: LockedTransfer) -> list[int]:
    """The live reservations that a locked transfer has at its source, by id, locked."""
    return of_transfer_items([item.id for item in transfer.items])


def demand_of(transfer: LockedTransfer, location_id: int) -> dict[tuple[str, int], int]:
    """What the transfer needs if it is sent from this location."""
    demand: dict[tuple[str, int], int] = {}
    for item in transfer.items:
        key = (item.sku, location_id)
        demand[key] = demand.get(key, 0) + item.quantity
    return demand
