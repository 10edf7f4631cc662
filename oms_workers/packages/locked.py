"""Packages and transfers whose rows are locked: what commands and tasks work on.

Rows are always locked in this order: the order, the package, its transfer.
"""

from dataclasses import dataclass
from typing import NamedTuple

from oms_workers.errors import OmsError
from oms_workers.orders.models import Order
from oms_workers.packages.models import (
    Package,
    PackageItem,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.sets import column, columns_of, fetch, fetch_one, for_change


class UnknownPackageError(OmsError):
    """No package or transfer has this number."""


class Item(NamedTuple):
    """A row of `package_items`."""

    id: int
    order_item_id: int
    sku: str
    quantity: int


class TransferredItem(NamedTuple):
    """A row of `transfer_items`, and the item of a package that it is for."""

    id: int
    package_item_id: int
    order_item_id: int
    sku: str
    quantity: int

    @property
    def package_item(self) -> Item:
        """The package's item, with the units that the transfer brings."""
        return Item(self.package_item_id, self.order_item_id, self.sku, self.quantity)


@dataclass(frozen=True)
class _PackageRow:
    id: int
    number: str
    order_id: int
    plan_id: int
    location_id: int
    state: PackageState
    version: int
    blocked_from: PackageState | None


@dataclass(frozen=True)
class LockedPackage(_PackageRow):
    """A package whose row, and whose order's row, are locked until the transaction ends."""

    items: tuple[Item, ...]

    @property
    def waits_for_transfer(self) -> bool:
        """Whether the package still wants what its transfers bring."""
        waiting = PackageState.WAITING_FOR_TRANSFER
        return waiting in (self.state, self.blocked_from if self.state is PackageState.BLOCKED else None)


@dataclass(frozen=True)
class _TransferRow:
    id: int
    number: str
    source_id: int
    destination_id: int
    state: TransferState


@dataclass(frozen=True)
class LockedTransfer(_TransferRow):
    """A transfer whose row, and whose package's row, are locked until the transaction ends."""

    package: LockedPackage
    items: tuple[TransferredItem, ...]


def lock_package(number: str) -> LockedPackage:
    """The package with this number, its order and itself locked. Raises `UnknownPackageError`."""
    return lock_package_by_id(_id_of(Package, "package", number))


def lock_package_by_id(id_: int) -> LockedPackage:
    """The package with this id, its order and itself locked, in this order."""
    owner = Package.select(Package.order).where(Package.id == id_)
    column(for_change(Order.select(Order.id).where(Order.id == owner)))
    query = Package.select(*columns_of(Package, _PackageRow)).where(Package.id == id_)
    package = fetch_one(for_change(query), _PackageRow)
    assert package is not None, "packages are never deleted"
    items = (
        PackageItem.select(*columns_of(PackageItem, Item))
        .where(PackageItem.package == id_)
        .order_by(PackageItem.id)
    )
    return LockedPackage(**vars(package), items=tuple(fetch(items, Item)))


def lock_transfer(number: str) -> LockedTransfer:
    """The transfer with this number, locked like `lock_transfer_by_id`. Raises `UnknownPackageError`."""
    return lock_transfer_by_id(_id_of(TransferOrder, "transfer", number))


def lock_transfer_by_id(id_: int) -> LockedTransfer:
    """The transfer with this id, its package's order, its package and itself locked, in this order."""
    (package_id,) = column(TransferOrder.select(TransferOrder.package).where(TransferOrder.id == id_))
    package = lock_package_by_id(package_id)
    query = TransferOrder.select(*columns_of(TransferOrder, _TransferRow)).where(TransferOrder.id == id_)
    transfer = fetch_one(for_change(query), _TransferRow)
    assert transfer is not None, "transfers are never deleted"
    items = (
        TransferItem.select(
            TransferItem.id,
            TransferItem.package_item,
            PackageItem.order_item,
            TransferItem.sku,
            TransferItem.quantity,
        )
        .join(PackageItem)
        .where(TransferItem.transfer == id_)
        .order_by(TransferItem.id)
    )
    return LockedTransfer(**vars(transfer), package=package, items=tuple(fetch(items, TransferredItem)))


def _id_of(model: type[Package | TransferOrder], kind: str, number: str) -> int:
    found: list[int] = column(model.select(model.id).where(model.number == number))
    if not found:
        raise UnknownPackageError(
            f"No {kind} has the number {number!r}; `oms explain ORDER` lists an order's."
        )
    return found[0]
