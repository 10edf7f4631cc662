"""What a location's people do with a package that they can send, and what operators do to stop it."""

from oms_workers.audit_events.door import Change, TransitionError
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.commands.registry import Request, command
from oms_workers.packages.holdings import give_back, held_by
from oms_workers.packages.locked import LockedPackage
from oms_workers.packages.models import OPEN_STATES, UNPLANNED_STATES, Package, PackageState
from oms_workers.packages.settling import settle_order
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.release import consume
from oms_workers.reservations.rises import note_rise

S = PackageState


@command("START_PREPARING", S.WAITING)
def start_preparing(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """The location's people begin to collect its items."""
    _go(package, S.PREPARING, "preparing_started", request, circumstances)


@command("READY_FOR_PACKAGING", S.PREPARING)
def ready_for_packaging(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """All of its items were found and lie together."""
    _go(package, S.READY_FOR_PACKAGING, "collected", request, circumstances)


@command("COMPLETE_PACKAGING", S.WAITING, S.PREPARING, S.READY_FOR_PACKAGING)
def complete_packaging(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """It is packed: its reservations are used up, and its units are no longer on hand."""
    consume(held_by(package), reason="COMPLETE_PACKAGING", at=circumstances.at)
    _go(package, S.PACKED, "packed", request, circumstances)


@command("SHIP_THE_PACKAGE", S.PACKED)
def ship_the_package(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """It has left the location; this records it and notifies no carrier."""
    _go(package, S.SHIPPED, "shipped", request, circumstances)


@command("BLOCK", *OPEN_STATES)
def block(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """Nobody works on it until it is unblocked; it keeps its stock."""
    Package.update({Package.blocked_from: package.state}).where(Package.id == package.id).execute()
    _go(package, S.BLOCKED, "blocked", request, circumstances)


@command("UNBLOCK", S.BLOCKED)
def unblock(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """It goes on from where it was blocked."""
    if package.blocked_from is None:
        raise TransitionError(f"It is not known what {package.number} was before it was blocked; cancel it.")
    _go(package, package.blocked_from, "unblocked", request, circumstances)


@command("CANCEL", *OPEN_STATES, S.BLOCKED, *UNPLANNED_STATES)
def cancel(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
    """Its lines are not sent; an order of which no other package is left is settled."""
    give_back(package, "CANCEL", circumstances)
    # Nothing was wrong with what it held, and other packages may wait for it.
    note_rise(item.sku for item in package.items)
    _go(package, S.CANCELLED, "cancelled", request, circumstances)
    settle_order(package.order_id, circumstances.door)


def _go(
    package: LockedPackage, state: PackageState, action: str, request: Request, circumstances: Circumstances
) -> None:
    content = {"reason": request.reason} if request.reason else {}
    circumstances.door.change(PACKAGE, [Change(package.id, package.state, state, action, content)])
