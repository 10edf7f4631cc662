"""What waits, per state, with the age of the oldest, and what nothing will pick up."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms_workers.database import rows
from oms_workers.fulfilment.models import UNPLANNED_STATES, PackageState, TransferState
from oms_workers.scheduling import table


@dataclass(frozen=True)
class Waiting:
    """A state in which things wait, a query for them, and the keys of the tasks that look for them.

    Where `locations` is true, the people of the locations are at it, and nothing is stuck.
    """

    state: str
    query: str
    env_keys: tuple[str, ...] = ()
    locations: bool = False


#: Packages that are on their way through a location.
_AT_LOCATIONS = (
    PackageState.WAITING,
    PackageState.WAITING_FOR_TRANSFER,
    PackageState.PREPARING,
    PackageState.READY_FOR_PACKAGING,
    PackageState.PACKED,
)


#: Each query uses an index that holds only what waits.
WAITING = (
    Waiting(
        "orders waiting",
        "SELECT count(*), min(placed_at) FROM orders WHERE state = 'waiting'",
        ("FULFIL_WAITING_ORDERS",),
    ),
    Waiting("orders held", "SELECT count(*), min(placed_at) FROM orders WHERE state = 'held'"),
    Waiting(
        "orders whose lines changed after planning",
        "SELECT count(*), min(placed_at) FROM orders WHERE line_changes IS NOT NULL",
    ),
    Waiting("orders rejected", "SELECT count(*), min(first_seen_at) FROM rejected_orders"),
    *(
        Waiting(
            f"packages {state.name.lower()}",
            f"SELECT count(*), min(changed_at) FROM packages WHERE state = {state.value}",
            locations=True,
        )
        for state in _AT_LOCATIONS
    ),
    Waiting("packages blocked", "SELECT count(*), min(changed_at) FROM packages WHERE state = 300"),
    *(
        Waiting(
            f"packages {state.name.lower()}",
            f"SELECT count(*), min(changed_at) FROM packages WHERE state = {state.value}",
            ("FULFIL_REPLANNING_ORDERS", "RENEW_OUT_OF_STOCK_PACKAGES")
            if state.name in ("OUT_OF_STOCK", "DEFECTIVE_PRODUCT")
            else ("FULFIL_REPLANNING_ORDERS",),
        )
        for state in UNPLANNED_STATES
    ),
    *(
        Waiting(
            f"transfers {state.name.lower()}",
            f"SELECT count(*), min(changed_at) FROM transfer_orders WHERE state = {state.value}",
            locations=True,
        )
        for state in (TransferState.WAITING, TransferState.READY_FOR_SHIPMENT, TransferState.IN_TRANSIT)
    ),
    Waiting(
        "transfers out_of_stock",
        "SELECT count(*), min(changed_at) FROM transfer_orders WHERE state = 920",
        ("RENEW_OUT_OF_STOCK_TRANSFERS",),
    ),
    Waiting(
        "stock with less on hand than is reserved",
        "SELECT count(*), min(snapshot_at) FROM stock WHERE on_hand < reserved",
        ("FULFIL_REPLANNING_ORDERS",),
    ),
    Waiting(
        "discrepancies",
        """
        SELECT count(*), min(created_at) FROM reservations
        WHERE kind = 'discrepancy' AND released_at IS NULL
        """,
        ("DAILY_CLEAR_INVENTORY_DISCREPANCIES",),
    ),
)


def backlog() -> list[dict[str, Any]]:
    """Per state: how many, since when, and why nothing will pick them up, if that is so."""
    enabled = {task.env_key for task in table.tasks() if task.enabled}
    return [_line(waiting, enabled) for waiting in WAITING]


def _line(waiting: Waiting, enabled: set[str]) -> dict[str, Any]:
    ((count, oldest),) = rows(waiting.query)
    moment: datetime | None = oldest
    return {
        "state": waiting.state,
        "count": count,
        "oldest": moment,
        "stuck": _stuck(waiting, enabled) if count else None,
    }


def _stuck(waiting: Waiting, enabled: set[str]) -> str | None:
    if waiting.locations:
        return None
    if not waiting.env_keys:
        return "waits for a person"
    if enabled.intersection(waiting.env_keys):
        return None
    known = {task.env_key for task in table.tasks()}.intersection(waiting.env_keys)
    if known:
        return f"nothing picks these up: {' and '.join(sorted(known))} disabled"
    return "nothing in this release picks these up"
