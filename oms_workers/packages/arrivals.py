"""What becomes of a package that waits for transfers when nothing is on its way to it any more."""

from peewee import Value

from oms_workers.audit_events.door import Change, Door
from oms_workers.packages.locked import LockedPackage
from oms_workers.packages.models import ENDED_TRANSFERS, Package, PackageState, TransferOrder
from oms_workers.packages.states import PACKAGE
from oms_workers.sets import exists, not_among


def go_on_when_complete(package: LockedPackage, door: Door) -> None:
    """Let a locked package go on whose transfers have all ended, and which holds everything.

    One that is blocked meanwhile goes on when it is unblocked.
    """
    if _transfers_to_come(package):
        return
    if package.state is PackageState.BLOCKED:
        waiting = Package.update({Package.blocked_from: PackageState.WAITING})
        waiting.where(Package.id == package.id).execute()
        return
    change = Change(package.id, package.state, PackageState.WAITING, "transfers_completed")
    door.change(PACKAGE, [change])


def _transfers_to_come(package: LockedPackage) -> bool:
    return exists(
        TransferOrder.select(Value(1)).where(
            TransferOrder.package == package.id, not_among(TransferOrder.state, ENDED_TRANSFERS)
        )
    )
