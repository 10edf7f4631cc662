"""The packages and transfers that wait for something."""

from datetime import timedelta

from oms_workers.audit_events.door import name_of
from oms_workers.backlog import Waiting, count_since
from oms_workers.packages.models import (
    OPEN_STATES,
    TRANSFERS_AT_SOURCE,
    UNPLANNED_STATES,
    Package,
    PackageState,
    TransferOrder,
    TransferState,
)
from oms_workers.sets import among

#: Those that `retry_out_of_stock_packages` plans again too.
_RENEWED = (PackageState.OUT_OF_STOCK, PackageState.DEFECTIVE_PRODUCT)


#: Blocked packages wait for whoever is on call, who looks once a day.
_UNBLOCKED_WITHIN = timedelta(days=1)

#: Far longer than a location takes to prepare a package, or to send and receive a transfer.
_HANDLED_WITHIN = timedelta(days=7)


def _packages(
    state: PackageState, *env_keys: str, at_locations: bool = False, patience: timedelta | None = None
) -> Waiting:
    return Waiting(
        f"packages {name_of(state)}",
        lambda: count_since(Package.changed_at, among(Package.state, [state])),
        env_keys,
        at_locations,
        patience,
    )


def _transfers(state: TransferState, *env_keys: str, at_locations: bool = False) -> Waiting:
    return Waiting(
        f"transfers {name_of(state)}",
        lambda: count_since(TransferOrder.changed_at, among(TransferOrder.state, [state])),
        env_keys,
        at_locations,
        _HANDLED_WITHIN if at_locations else None,
    )


def _replanned_by(state: PackageState) -> tuple[str, ...]:
    both = ("FULFIL_REPLANNING_ORDERS", "RENEW_OUT_OF_STOCK_PACKAGES")
    return both if state in _RENEWED else both[:1]


#: Packages that wait for stock may wait for any time. So may those that are packed: no command takes them
#: further than shipped.
WAITING = (
    *(_packages(state, at_locations=True, patience=_HANDLED_WITHIN) for state in OPEN_STATES),
    _packages(PackageState.PACKED, at_locations=True),
    _packages(PackageState.BLOCKED, patience=_UNBLOCKED_WITHIN),
    *(_packages(state, *_replanned_by(state)) for state in UNPLANNED_STATES),
    *(_transfers(state, at_locations=True) for state in (*TRANSFERS_AT_SOURCE, TransferState.IN_TRANSIT)),
    _transfers(TransferState.OUT_OF_STOCK, "RENEW_OUT_OF_STOCK_TRANSFERS"),
)
