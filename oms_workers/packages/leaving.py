"""Packages and transfers that leave the location which was to send them, before its people have begun."""

from collections.abc import Sequence

from oms_workers.audit_events.door import Change
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.holdings import give_back
from oms_workers.packages.locked import LockedPackage, LockedTransfer
from oms_workers.packages.models import PackageState, TransferState
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.reservations.release import release_reservations


def leave(package: LockedPackage, *, cause: str, action: str, circumstances: Circumstances) -> None:
    """A locked package gives back all that it holds, for the cause that movements name, for another plan."""
    give_back(package, cause, circumstances)
    change = Change(package.id, package.state, PackageState.NEEDS_REPLAN, action)
    circumstances.door.change(PACKAGE, [change])


def stop(
    transfer: LockedTransfer, held: Sequence[int], *, cause: str, action: str, circumstances: Circumstances
) -> None:
    """A locked transfer is out of stock at its source, and gets another one. `held` are its reservations."""
    release_reservations(held, reason=cause, at=circumstances.at)
    change = Change(transfer.id, transfer.state, TransferState.OUT_OF_STOCK, action)
    circumstances.door.change(TRANSFER, [change])
