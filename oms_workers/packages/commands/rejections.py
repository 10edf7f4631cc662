"""Rejections: a location says that it will not, or cannot, send a package.

The package gives back what it holds and waits for another plan. Its lines remember the location, so that they
do not return to the same shelf. What the rejection says of the stock becomes a discrepancy.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from oms_workers.audit_events.door import Change
from oms_workers.errors import ArgumentError, OmsError
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.commands.registry import Option, Request, command
from oms_workers.packages.exclusions import exclude
from oms_workers.packages.holdings import give_back, units_held_by
from oms_workers.packages.locked import Item, LockedPackage
from oms_workers.packages.models import Package, PackageItem, PackageState
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.discrepancies import Meaning, block
from oms_workers.reservations.release import of_package_items, release_reservations
from oms_workers.reservations.stock import NewReservation, lock, reserve

S = PackageState

#: What a rejection is about, and what it says of the stock.
REJECTION = (Option.MISSING, Option.STOCK)


class NotInPackageError(OmsError):
    """What is said to be missing is not in the package."""


class NothingMissingError(NotInPackageError, ArgumentError):
    """The command is about some of a package, and nothing says which."""


@command("REFUSE", S.WAITING, S.WAITING_FOR_TRANSFER, S.PREPARING, takes=REJECTION)
def refuse(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """The location does not want to send it; it needs another plan."""
    _reject(package, S.NEEDS_REPLAN, request, Meaning.NOTHING, circumstances)


@command("PRODUCT_NOT_FOUND", S.WAITING, S.PREPARING, S.READY_FOR_PACKAGING, takes=REJECTION)
def product_not_found(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """An item is not where it should be: the whole package is planned again, elsewhere."""
    _reject(package, S.OUT_OF_STOCK, request, Meaning.ALL, circumstances)


@command("PRODUCT_NOT_FOUND_ADVANCED", S.WAITING, S.PREPARING, S.READY_FOR_PACKAGING, takes=REJECTION)
def product_not_found_advanced(
    package: LockedPackage, request: Request, circumstances: Circumstances
) -> None:
    """Only the missing items are planned again, elsewhere; the package keeps the rest."""
    if not request.missing:
        raise NothingMissingError(
            "PRODUCT_NOT_FOUND_ADVANCED needs --missing SKU=UNITS, which says what of the package is missing."
        )
    _check_missing(package, request.missing)
    if request.missing == _units(package.items):
        _reject(package, S.OUT_OF_STOCK, request, Meaning.ALL, circumstances)
    else:
        _part(package, request, circumstances)


@command("DEFECTIVE_PRODUCT", S.WAITING, S.PREPARING, S.READY_FOR_PACKAGING, takes=REJECTION)
def defective_product(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """An item is there and cannot be sold: the package is planned again, elsewhere."""
    _reject(package, S.DEFECTIVE_PRODUCT, request, Meaning.QUANTITY, circumstances)


@command(
    "UNAVAILABLE", S.WAITING, S.WAITING_FOR_TRANSFER, S.PREPARING, S.READY_FOR_PACKAGING, takes=REJECTION
)
def unavailable(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """The location cannot send it, for a reason that says nothing about its stock."""
    _reject(package, S.UNAVAILABLE, request, Meaning.NOTHING, circumstances)


def _reject(
    package: LockedPackage,
    state: PackageState,
    request: Request,
    default: Meaning,
    circumstances: Circumstances,
) -> None:
    """The whole package waits for another plan; `request.missing` says which skus the meaning is about."""
    _check_missing(package, request.missing)
    rejected = request.missing or _units(package.items)
    # What a transfer was to bring never was at the location, and its shelf says nothing about it.
    held = units_held_by(package)
    give_back(package, state.name, circumstances)
    denied = {sku: min(units, held[sku]) for sku, units in rejected.items() if sku in held}
    _deny(package, denied, request.meaning or default, state.name, circumstances)
    exclude((item.order_item_id for item in package.items), package.location_id, circumstances)
    content = {"missing": dict(rejected), "reason": request.reason}
    circumstances.door.change(PACKAGE, [Change(package.id, package.state, state, "rejected", content)])


def _part(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """Move the missing units to a package of their own, which waits for another plan."""
    at, missing = circumstances.at, _pick(package.items, request.missing)
    touched = [item.id for item, _ in missing]
    release_reservations(of_package_items(touched), reason="PRODUCT_NOT_FOUND_ADVANCED", at=at)
    kept = [
        NewReservation(item.sku, package.location_id, item.quantity - units, item.id)
        for item, units in missing
        if units < item.quantity
    ]
    lock({(new.sku, new.location_id) for new in kept})
    reserve(kept, reason="PRODUCT_NOT_FOUND_ADVANCED", at=at)
    new = _add_package(package, request.reason, circumstances)
    _move_items(missing, new.id)
    meaning = request.meaning or Meaning.ALL
    _deny(package, request.missing, meaning, "PRODUCT_NOT_FOUND_ADVANCED", circumstances)
    exclude((item.order_item_id for item, _ in missing), package.location_id, circumstances)
    content = {"missing": dict(request.missing), "package": new.number, "reason": request.reason}
    parted = Change(package.id, package.state, package.state, "parted", content)
    circumstances.door.change(PACKAGE, [parted])


def _check_missing(package: LockedPackage, missing: Mapping[str, int]) -> None:
    units = _units(package.items)
    for sku, count in missing.items():
        if not 0 < count <= units.get(sku, 0):
            has = units.get(sku, 0)
            raise NotInPackageError(
                f"{count} of {sku!r} cannot be missing from {package.number}, which has {has} of it."
            )


def _units(items: Iterable[Item]) -> dict[str, int]:
    units: defaultdict[str, int] = defaultdict(int)
    for item in items:
        units[item.sku] += item.quantity
    return dict(units)


def _pick(items: Iterable[Item], missing: Mapping[str, int]) -> list[tuple[Item, int]]:
    """From which items the missing units are taken, and how many from each."""
    left = dict(missing)
    picked = []
    for item in items:
        units = min(item.quantity, left.get(item.sku, 0))
        if units:
            left[item.sku] -= units
            picked.append((item, units))
    return picked


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


def _add_package(package: LockedPackage, reason: str | None, circumstances: Circumstances) -> _PartedPackage:
    (new_id,) = Package.next_ids(1)
    before = Package.select(Package.id).where(Package.order == package.order_id).count()
    number = f"P{package.order_id}-{before + 1}"
    new = _PartedPackage(
        new_id, number, package.order_id, package.plan_id, package.location_id, S.OUT_OF_STOCK
    )
    circumstances.door.create(
        PACKAGE,
        [new],
        contents=[{"order": package.order_id, "reason": reason or f"was missing from {package.number}"}],
        created_at=circumstances.at,
        changed_at=circumstances.at,
    )
    return new


def _move_items(missing: list[tuple[Item, int]], package_id: int) -> None:
    state = S.OUT_OF_STOCK
    whole = [_Moved(item.id, package_id, state) for item, units in missing if units == item.quantity]
    parts = [(item, units) for item, units in missing if units < item.quantity]
    PackageItem.update_set(whole)
    PackageItem.update_set([_Reduced(item.id, item.quantity - units) for item, units in parts])
    PackageItem.insert_set(
        [_PartedItem(package_id, item.order_item_id, item.sku, units, state) for item, units in parts]
    )


def _deny(
    package: LockedPackage,
    rejected: Mapping[str, int],
    meaning: Meaning,
    reason: str,
    circumstances: Circumstances,
) -> None:
    block(
        {(sku, package.location_id): units for sku, units in rejected.items()},
        meaning,
        reason=reason,
        at=circumstances.at,
        lifetime=circumstances.discrepancy_lifetime,
    )
