"""Packages that wait for stock, and whose rule said for how long they may."""

from datetime import datetime

from oms_workers.audit_events.door import Change
from oms_workers.database import connection, transaction
from oms_workers.isolation import guarded
from oms_workers.packages.circumstances import acting
from oms_workers.packages.locked import lock_package_by_id
from oms_workers.packages.models import UNPLANNED_STATES, Package, PackageState
from oms_workers.packages.settling import settle_order
from oms_workers.packages.states import PACKAGE
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, column

#: Packages that are looked up at once; each is ended in a transaction of its own.
BATCH = 500


def cancel_ended_waits(run: Run, *, actor: str) -> int:
    """Cancel the packages whose time to wait is over; returns how many."""
    cancelled, last = 0, 0
    with connection():
        while ended := _ended_after(last, run.now):
            for package_id in ended:
                problem = f"Package {package_id} has waited long enough and cannot be cancelled"
                cancelled += guarded(_cancel, package_id, actor, run.now, problem=problem)
                if run.should_stop():
                    return cancelled
            last = ended[-1]
    return cancelled


def _ended_after(last: int, now: datetime) -> list[int]:
    # The index packages_cancel_after holds only what waits with an end.
    listed = among(Package.state, UNPLANNED_STATES)
    return column(
        Package.select(Package.id)
        .where(Package.cancel_after <= now, listed, Package.id > last)
        .order_by(Package.id)
        .limit(BATCH)
    )


def _cancel(package_id: int, actor: str, at: datetime) -> bool:
    with transaction(), acting(actor, at) as circumstances:
        package = lock_package_by_id(package_id)
        if package.state not in UNPLANNED_STATES:
            return False
        change = Change(package.id, package.state, PackageState.CANCELLED, "cancelled_overdue")
        circumstances.door.change(PACKAGE, [change])
        settle_order(package.order_id, circumstances.door)
        return True
