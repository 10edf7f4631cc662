"""Leftovers whose rule said for how long they may wait for stock."""

from datetime import datetime

from oms_workers.database import connection, rows, transaction
from oms_workers.fulfilment.commands.packages import settle_order
from oms_workers.fulfilment.commands.registry import Circumstances, lock_package_by_id
from oms_workers.fulfilment.models import UNPLANNED_STATES, PackageState
from oms_workers.fulfilment.states import Change, change_packages
from oms_workers.isolation import one_by_one
from oms_workers.scheduling.run import Run

#: Packages that are looked up at once; each is ended in a transaction of its own.
BATCH = 500


def cancel_overdue(run: Run, circumstances: Circumstances) -> int:
    """Cancel those whose time is over; returns how many."""
    cancelled, last = 0, 0
    with connection():
        while overdue := _overdue_after(last, run.now):
            for package_id in overdue:
                cancelled += one_by_one(
                    lambda: _cancel(package_id, circumstances),  # noqa: B023
                    f"Package {package_id} is overdue and cannot be cancelled",
                )
            last = overdue[-1]
            if run.should_stop():
                break
    return cancelled


def _overdue_after(last: int, now: datetime) -> list[int]:
    # The index packages_cancel_after holds only what waits with an end.
    found = rows(
        """
        SELECT id
        FROM packages
        WHERE cancel_after <= %s AND state IN (910, 920, 930, 940) AND id > %s
        ORDER BY id
        LIMIT %s
        """,
        (now, last, BATCH),
    )
    return [package.id for package in found]


def _cancel(package_id: int, circumstances: Circumstances) -> bool:
    with transaction():
        package = lock_package_by_id(package_id)
        if package.state not in UNPLANNED_STATES:
            return False
        change = Change(package.id, package.state, PackageState.CANCELLED, "cancelled_overdue")
        change_packages([change], actor=circumstances.actor, at=circumstances.at)
        settle_order(package.order_id)
        return True
