"""Units that leave a package for one of their own, which waits for another plan; the rest stays."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.locked import Item, LockedPackage
from oms_workers.packages.models import Package, PackageItem, PackageState
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.release import of_package_items, release_reservations, units_of_items
from oms_workers.reservations.stock import NewReservation, reserve

#: Units of an item.
Picked = tuple[Item, int]

_STATE = PackageState.OUT_OF_STOCK


class _PartedPackage(NamedTuple):
    id: int
    number: str
    order_id: int
    plan_id: int
    location_id: int
    state: PackageState


class _Moved(NamedTuple):
    id: int
    package_id: int
    state: PackageState


class _Reduced(NamedTuple):
    id: int
    quantity: int


class _PartedItem(NamedTuple):
    package_id: int
    order_item_id: int
    sku: str
    quantity: int
    state: PackageState


def pick(items: Iterable[Item], wanted: Mapping[str, int]) -> list[Picked]:
    """From which items the wanted units are taken, and how many from each; no more than they have."""
    left = dict(wanted)
    picked = []
    for item in items:
        units = min(item.quantity, left.get(item.sku, 0))
        if units > 0:
            left[item.sku] -= units
            picked.append((item, units))
    return picked


def part(
    package: LockedPackage, picked: Sequence[Picked], *, cause: str, reason: str, circumstances: Circumstances
) -> str:
    """Move units of a locked package, which it holds, to a new one in out_of_stock; returns its number.

    What the units held is released, for the cause that the movements name. The caller says at the door that
    the package was parted.
    """
    at, touched = circumstances.at, [item.id for item, _ in picked]
    held = of_package_items(touched)
    # Not the item's own number: a part of it may still be on its way.
    holding = units_of_items(held)
    release_reservations(held, reason=cause, at=at)
    kept = [
        NewReservation(item.sku, package.location_id, holding[item.id] - units, item.id)
        for item, units in picked
        if units < holding.get(item.id, 0)
    ]
    # Its stock is locked already, by the release.
    reserve(kept, reason=cause, at=at)
    new = _add_package(package, reason, circumstances)
    _move_items(picked, new.id)
    return new.number


def _add_package(package: LockedPackage, reason: str, circumstances: Circumstances) -> _PartedPackage:
    (new_id,) = Package.next_ids(1)
    before = Package.select(Package.id).where(Package.order == package.order_id).count()
    number = f"P{package.order_id}-{before + 1}"
    new = _PartedPackage(new_id, number, package.order_id, package.plan_id, package.location_id, _STATE)
    circumstances.door.create(
        PACKAGE,
        [new],
        contents=[{"order": package.order_id, "reason": reason}],
        created_at=circumstances.at,
        changed_at=circumstances.at,
    )
    return new


def _move_items(picked: Sequence[Picked], package_id: int) -> None:
    whole = [_Moved(item.id, package_id, _STATE) for item, units in picked if units == item.quantity]
    parts = [(item, units) for item, units in picked if units < item.quantity]
    PackageItem.update_set(whole)
    PackageItem.update_set([_Reduced(item.id, item.quantity - units) for item, units in parts])
    PackageItem.insert_set(
        [_PartedItem(package_id, item.order_item_id, item.sku, units, _STATE) for item, units in parts]
    )
