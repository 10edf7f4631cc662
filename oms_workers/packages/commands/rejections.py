"""Rejections: a location says that it will not, or cannot, send a package.

The package gives back what it holds and waits for another plan. Its lines remember the location, so that they
do not return to the same shelf. What the rejection says of the stock becomes a discrepancy.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from oms_workers.audit_events.door import Change
from oms_workers.errors import ArgumentError, OmsError
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.commands.registry import Option, Request, command
from oms_workers.packages.exclusions import exclude
from oms_workers.packages.holdings import give_back, units_held_by
from oms_workers.packages.locked import Item, LockedPackage
from oms_workers.packages.models import PackageState
from oms_workers.packages.parting import part, pick
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.discrepancies import block
from oms_workers.reservations.models import Meaning

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
    meaning = request.meaning or default
    _deny(package, denied, meaning, state.name, circumstances)
    not_there = {item.order_item_id for item in package.items if item.sku in denied}
    exclude(
        (item.order_item_id for item in package.items),
        package.location_id,
        circumstances,
        missing=not_there if meaning is not Meaning.NOTHING else (),
    )
    content = {"missing": dict(rejected), "reason": request.reason}
    circumstances.door.change(PACKAGE, [Change(package.id, package.state, state, "rejected", content)])


def _part(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """Move the missing units to a package of their own, which waits for another plan."""
    missing = pick(package.items, request.missing)
    reason = request.reason or f"was missing from {package.number}"
    new = part(
        package, missing, cause="PRODUCT_NOT_FOUND_ADVANCED", reason=reason, circumstances=circumstances
    )
    meaning = request.meaning or Meaning.ALL
    _deny(package, request.missing, meaning, "PRODUCT_NOT_FOUND_ADVANCED", circumstances)
    lines = [item.order_item_id for item, _ in missing]
    not_there = lines if meaning is not Meaning.NOTHING else []
    exclude(lines, package.location_id, circumstances, missing=not_there)
    content = {"missing": dict(request.missing), "package": new, "reason": request.reason}
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
