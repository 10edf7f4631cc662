"""The rows that plans become: packages, their items, the transfers they wait for, and reservations.

Ids are taken in advance, so that rows may refer to one another and each table is one statement.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from oms_workers.audit_events.door import Door
from oms_workers.fulfilment.planning.plans import LineToPlan, Parcel, Plan
from oms_workers.packages.models import (
    Package,
    PackageItem,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.stock import NewReservation, reserve


class NewPackage(NamedTuple):
    """A row of `packages`."""

    id: int
    number: str
    order_id: int
    plan_id: int
    location_id: int
    state: PackageState
    replan_attempts: int
    cancel_after: datetime | None
    replanned_at: datetime | None


class NewItem(NamedTuple):
    """A row of `package_items`."""

    id: int
    package_id: int
    order_item_id: int
    sku: str
    quantity: int
    state: PackageState


class NewTransfer(NamedTuple):
    """A row of `transfer_orders`."""

    id: int
    number: str
    package_id: int
    source_id: int
    destination_id: int
    state: TransferState = TransferState.WAITING


class NewTransferItem(NamedTuple):
    """A row of `transfer_items`."""

    id: int
    transfer_id: int
    package_item_id: int
    sku: str
    quantity: int

    def reservation(self, source_id: int) -> NewReservation:
        """What keeps its units at the source."""
        kind = ReservationKind.TRANSFER
        return NewReservation(self.sku, source_id, self.quantity, transfer_item_id=self.id, kind=kind)


class PackageRows:
    """What is to be written for these plans, whose own rows have the ids `plan_ids`."""

    def __init__(
        self, plans: list[Plan], plan_ids: list[int], default_location_id: int, at: datetime
    ) -> None:
        self.packages: list[NewPackage] = []
        self.items: list[NewItem] = []
        self.transfers: list[NewTransfer] = []
        self.transfer_items: list[NewTransferItem] = []
        self.reservations: list[NewReservation] = []
        self._take_ids(plans)
        numbers = {plan.order.id: plan.order.packages_before for plan in plans}
        for plan, plan_id in zip(plans, plan_ids, strict=True):
            if plan.hold_reason is not None:
                continue
            for parcel, state in _parcels_of(plan, default_location_id):
                numbers[plan.order.id] += 1
                self._add(plan, plan_id, numbers[plan.order.id], parcel, state, at)

    def create(self, door: Door) -> None:
        """Write everything, in the caller's transaction, in which the stock is locked."""
        contents = [{"order": package.order_id} for package in self.packages]
        at = door.at
        door.create(PACKAGE, self.packages, contents=contents, created_at=at, changed_at=at)
        PackageItem.insert_set(self.items)
        numbers = {package.id: package.number for package in self.packages}
        owners = [{"package": numbers[transfer.package_id]} for transfer in self.transfers]
        door.create(TRANSFER, self.transfers, contents=owners, created_at=at, changed_at=at)
        TransferItem.insert_set(self.transfer_items)
        reserve(self.reservations, reason=door.actor, at=door.at)

    def _take_ids(self, plans: list[Plan]) -> None:
        placed = [plan for plan in plans if plan.hold_reason is None]
        parcels = [parcel for plan in placed for parcel in plan.parcels]
        transfers = [transfer for parcel in parcels for transfer in parcel.transfers]
        lines = sum(len(parcel.everything()) for parcel in parcels) + sum(
            len(plan.leftovers) for plan in placed
        )
        brought = sum(len(transfer.lines) for transfer in transfers)
        self._package_ids = iter(Package.next_ids(len(parcels) + len(placed)))
        self._item_ids = iter(PackageItem.next_ids(lines))
        self._transfer_ids = iter(TransferOrder.next_ids(len(transfers)))
        self._transfer_item_ids = iter(TransferItem.next_ids(brought))

    def _add(
        self, plan: Plan, plan_id: int, number: int, parcel: Parcel, state: PackageState, at: datetime
    ) -> None:
        order, package_id = plan.order, next(self._package_ids)
        name, place = f"{order.id}-{number}", parcel.location_id
        waits = state is PackageState.OUT_OF_STOCK
        attempts = order.replaces.attempts if waits and order.replaces else 0
        cancel_after = plan.end_of_wait(at) if waits else None
        tried_at = at if waits and order.replaces else None
        self.packages.append(
            NewPackage(
                package_id, f"P{name}", order.id, plan_id, place, state, attempts, cancel_after, tried_at
            )
        )
        for line in _merged(parcel.lines):
            item_id = self._add_item(package_id, line, state)
            if not waits:
                self.reservations.append(NewReservation(line.sku, place, line.quantity, item_id))
        for position, (source_id, lines) in enumerate(parcel.transfers, start=1):
            transfer_id = next(self._transfer_ids)
            new = NewTransfer(transfer_id, f"T{name}-{position}", package_id, source_id, place)
            self.transfers.append(new)
            for line in _merged(lines):
                self._add_transfer_item(transfer_id, source_id, line, self._add_item(package_id, line, state))

    def _add_item(self, package_id: int, line: LineToPlan, state: PackageState) -> int:
        item_id = next(self._item_ids)
        self.items.append(NewItem(item_id, package_id, line.order_item_id, line.sku, line.quantity, state))
        return item_id

    def _add_transfer_item(self, transfer_id: int, source_id: int, line: LineToPlan, item_id: int) -> None:
        item = NewTransferItem(next(self._transfer_item_ids), transfer_id, item_id, line.sku, line.quantity)
        self.transfer_items.append(item)
        self.reservations.append(item.reservation(source_id))


def _parcels_of(plan: Plan, default_location_id: int) -> Iterator[tuple[Parcel, PackageState]]:
    for parcel in plan.parcels:
        state = PackageState.WAITING_FOR_TRANSFER if parcel.transfers else PackageState.WAITING
        yield parcel, state
    if plan.leftovers:
        yield Parcel(default_location_id, plan.leftovers, []), PackageState.OUT_OF_STOCK


def _merged(lines: Sequence[LineToPlan]) -> Sequence[LineToPlan]:
    """One entry for each line of the order: two rules may have given parts of one to the same location."""
    if len({line.order_item_id for line in lines}) == len(lines):
        return lines
    merged: dict[int, LineToPlan] = {}
    for line in lines:
        before = merged.get(line.order_item_id)
        merged[line.order_item_id] = (
            line if before is None else line._replace(quantity=before.quantity + line.quantity)
        )
    return [*merged.values()]
