"""What a location's people do with a package that they can send, and what operators do to stop it."""

from oms_workers.database import execute
from oms_workers.fulfilment.commands.holdings import give_back, held_by
from oms_workers.fulfilment.commands.registry import Circumstances, Package, Request, command
from oms_workers.fulfilment.models import PackageState
from oms_workers.fulfilment.states import Change, TransitionError, change_packages
from oms_workers.reservations.release import consume

S = PackageState

#: States in which a package is still at its location, unpacked.
OPEN = (S.WAITING, S.WAITING_FOR_TRANSFER, S.PREPARING, S.READY_FOR_PACKAGING)


@command("START_PREPARING", S.WAITING)
def start_preparing(package: Package, request: Request, circumstances: Circumstances) -> None:
    """The location's people begin to collect its items."""
    _go(package, S.PREPARING, "preparing_started", request, circumstances)


@command("READY_FOR_PACKAGING", S.PREPARING)
def ready_for_packaging(package: Package, request: Request, circumstances: Circumstances) -> None:
    """All of its items were found and lie together."""
    _go(package, S.READY_FOR_PACKAGING, "collected", request, circumstances)


@command("COMPLETE_PACKAGING", S.WAITING, S.PREPARING, S.READY_FOR_PACKAGING)
def complete_packaging(package: Package, request: Request, circumstances: Circumstances) -> None:
    """It is packed: its reservations are used up, and its units are not on hand any more."""
    consume(held_by(package), reason="COMPLETE_PACKAGING", at=circumstances.at)
    _go(package, S.PACKED, "packed", request, circumstances)


@command("SHIP_THE_PACKAGE", S.PACKED)
def ship_the_package(package: Package, request: Request, circumstances: Circumstances) -> None:
    """It has left the location; this records it and notifies no carrier."""
    _go(package, S.SHIPPED, "shipped", request, circumstances)


@command("BLOCK", *OPEN)
def block(package: Package, request: Request, circumstances: Circumstances) -> None:
    """Nobody works on it until it is unblocked; it keeps its stock."""
    execute("UPDATE packages SET blocked_from = state WHERE id = %s", (package.id,))
    _go(package, S.BLOCKED, "blocked", request, circumstances)


@command("UNBLOCK", S.BLOCKED)
def unblock(package: Package, request: Request, circumstances: Circumstances) -> None:
    """It goes on from where it was blocked."""
    if package.blocked_from is None:
        raise TransitionError(f"It is not known what {package.number} was before it was blocked; cancel it.")
    _go(package, S(package.blocked_from), "unblocked", request, circumstances)


@command("CANCEL", *OPEN, S.BLOCKED, S.NEEDS_REPLAN, S.OUT_OF_STOCK, S.DEFECTIVE_PRODUCT, S.UNAVAILABLE)
def cancel(package: Package, request: Request, circumstances: Circumstances) -> None:
    """Its lines are not sent; an order of which no other package is left is settled."""
    give_back(package, "CANCEL", circumstances)
    _go(package, S.CANCELLED, "cancelled", request, circumstances)
    settle_order(package.order_id)


def settle_order(order_id: int) -> None:
    """Settle a locked order none of whose packages has anything before it any more."""
    execute(
        """
        UPDATE orders
        SET state = 'settled', plan_version = plan_version + 1
        WHERE id = %(id)s AND state = 'planned'
          AND NOT EXISTS (
              SELECT FROM packages WHERE order_id = %(id)s AND state NOT IN (900, 1000, 1100)
          )
        """,
        {"id": order_id},
    )


def _go(
    package: Package, state: PackageState, action: str, request: Request, circumstances: Circumstances
) -> None:
    content = {"reason": request.reason} if request.reason else {}
    change = Change(package.id, package.state, state, action, content)
    change_packages([change], actor=circumstances.actor, at=circumstances.at)
