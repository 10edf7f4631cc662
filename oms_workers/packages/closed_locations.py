"""Locations that are switched off, and what still waits there: packages, and transfers that they should send.

A location that is switched off gets no new packages. Those that its people have not begun with stay, until
somebody says that they are to leave.
"""

from datetime import datetime
from typing import NamedTuple

from oms_workers.database import transaction
from oms_workers.errors import OmsError
from oms_workers.isolation import guarded
from oms_workers.packages.circumstances import acting
from oms_workers.packages.holdings import reservations_of
from oms_workers.packages.leaving import leave, stop
from oms_workers.packages.locked import lock_package_by_id, lock_transfer_by_id
from oms_workers.packages.models import UNTOUCHED, Package, TransferOrder, TransferState
from oms_workers.reservations.codes import Codes
from oms_workers.reservations.models import Location
from oms_workers.sets import among, column, exists, fetch

#: What a command or a list looks at in one go.
MOST = 10_000

_ACTION = "location_switched_off"


class NotSwitchedOffError(OmsError):
    """The location takes packages, or is not known: what waits there is where it should be."""


class StillThere(NamedTuple):
    """A package or a transfer that waits at a location which is switched off."""

    code: str
    number: str


def still_at_closed_locations() -> list[StillThere]:
    """What waits at locations which are switched off: packages, and transfers that should leave them."""
    # The indexes packages_open and transfer_orders_open hold only what is not done.
    packages = (
        Package.select(Location.code, Package.number)
        .join(Location)
        .where(~Location.active, among(Package.state, UNTOUCHED))
        .order_by(Location.id, Package.id)
        .limit(MOST)
    )
    transfers = (
        TransferOrder.select(Location.code, TransferOrder.number)
        .join(Location, on=Location.id == TransferOrder.source)
        .where(~Location.active, among(TransferOrder.state, [TransferState.WAITING]))
        .order_by(Location.id, TransferOrder.id)
        .limit(MOST)
    )
    return fetch(packages, StillThere) + fetch(transfers, StillThere)


def find_closed_location(code: str) -> int:
    """The id of a location that is switched off. Raises `NotSwitchedOffError`."""
    codes = Codes()
    if len(codes.find(code)) != 1:
        raise NotSwitchedOffError(f"{code!r}: {codes.said(code).removesuffix('; load it first')}.")
    id_ = codes.id_of(code)
    if exists(Location.select(Location.id).where(Location.id == id_, Location.active)):
        raise NotSwitchedOffError(
            f"The location {code} takes packages, and they would come back to it; load it with active false"
            " first."
        )
    return id_


def let_leave(location_id: int, *, actor: str, at: datetime) -> tuple[list[int], list[int]]:
    """Take from a location the packages and the transfers that its people have not begun with.

    Each is a transaction of its own. Returns the packages, which need another plan now, and the transfers,
    which need another source.
    """
    packages = Package.select(Package.id).where(
        Package.location == location_id, among(Package.state, UNTOUCHED)
    )
    transfers = TransferOrder.select(TransferOrder.id).where(
        TransferOrder.source == location_id, among(TransferOrder.state, [TransferState.WAITING])
    )
    problem = "{} {} cannot leave its location"
    left = [
        id_
        for id_ in column(packages.order_by(Package.id).limit(MOST))
        if guarded(_leave, id_, actor, at, problem=problem.format("Package", id_))
    ]
    stopped = [
        id_
        for id_ in column(transfers.order_by(TransferOrder.id).limit(MOST))
        if guarded(_stop, id_, actor, at, problem=problem.format("Transfer", id_))
    ]
    return left, stopped


def _leave(package_id: int, actor: str, at: datetime) -> bool:
    with transaction(), acting(actor, at) as circumstances:
        package = lock_package_by_id(package_id)
        if package.state not in UNTOUCHED:
            return False
        leave(package, cause=_ACTION, action=_ACTION, circumstances=circumstances)
        return True


def _stop(transfer_id: int, actor: str, at: datetime) -> bool:
    with transaction(), acting(actor, at) as circumstances:
        transfer = lock_transfer_by_id(transfer_id)
        held = reservations_of(transfer)
        if transfer.state is not TransferState.WAITING:
            return False
        stop(transfer, held, cause=_ACTION, action=_ACTION, circumstances=circumstances)
        return True
