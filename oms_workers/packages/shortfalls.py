"""Shortfalls: a count of stock has left less on hand than packages and transfers were promised."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from peewee import JOIN, Select, fn

from oms_workers.audit_events.door import Change
from oms_workers.database import connection, database, transaction
from oms_workers.isolation import guarded
from oms_workers.orders.models import Order
from oms_workers.packages.circumstances import Circumstances, acting
from oms_workers.packages.holdings import lock_holdings, reservations_of
from oms_workers.packages.leaving import leave, stop
from oms_workers.packages.locked import Item, LockedPackage, lock_package_by_id, lock_transfer_by_id
from oms_workers.packages.models import (
    UNTOUCHED,
    Package,
    PackageItem,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.packages.parting import part, pick
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.models import Reservation, ReservationKind, Stock
from oms_workers.reservations.release import units_of_items
from oms_workers.reservations.stock import Key, lock
from oms_workers.sets import Arrays, among, fetch, one_of

#: Packages and transfers that give way in one go; where more have to, the next run finds them.
MOST = 5_000


class _Candidate(NamedTuple):
    """A package, or one of its transfers, that is to give way."""

    package_id: int
    transfer_id: int | None


class _Shortage(NamedTuple):
    sku: str
    location_id: int
    units: int


class _Held(NamedTuple):
    sku: str
    location_id: int


def relieve_shortfalls(*, actor: str, at: datetime, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Plan packages again, and look for other sources of transfers, for which a count has left no stock.

    Where less is on hand than packages and transfers hold, those that no location has begun with give way,
    the least urgent first, until the rest is covered. A package gives up only what is short, and keeps the
    rest. Returns how many have given way.
    """
    given_way = 0
    with connection():
        for candidate in _candidates():
            if should_stop():
                break
            problem = f"Package {candidate.package_id} is short of stock and cannot give way"
            given_way += guarded(_give_way, candidate, actor, at, problem=problem)
    return given_way


def _candidates() -> list[_Candidate]:
    short = _short().cte("short", columns=("sku", "location_id", "units"), materialized=True)
    held, owner = Reservation, fn.COALESCE(PackageItem.package, TransferOrder.package)
    # What this reservation and those that are less urgent hold: the ones to give way are at its beginning.
    relieved = fn.SUM(held.quantity).over(
        partition_by=[held.sku, held.location],
        order_by=[
            Order.priority,
            Order.promised_at.desc(nulls="FIRST"),
            Order.placed_at.desc(),
            held.id.desc(),
        ],
    )
    untouched = TransferOrder.id.is_null() & among(Package.state, UNTOUCHED)
    ranked = (
        held.select(
            Package.id.alias("package_id"),
            TransferOrder.id.alias("transfer_id"),
            held.quantity,
            short.c.units,
            relieved.alias("relieved"),
        )
        .join(short, on=(held.sku == short.c.sku) & (held.location == short.c.location_id))
        .join_from(held, PackageItem, JOIN.LEFT_OUTER, on=PackageItem.id == held.package_item_id)
        .join_from(held, TransferItem, JOIN.LEFT_OUTER, on=TransferItem.id == held.transfer_item_id)
        .join_from(TransferItem, TransferOrder, JOIN.LEFT_OUTER)
        .join_from(held, Package, on=Package.id == owner)
        .join_from(Package, Order)
        .where(_is_live(held), untouched | (TransferOrder.state == TransferState.WAITING))
        .alias("ranked")
    )
    columns = (ranked.c.package_id, ranked.c.transfer_id)
    query = (
        Select([ranked], columns)
        .where(ranked.c.relieved - ranked.c.quantity < ranked.c.units)
        .group_by(*columns)
        .order_by(fn.MIN(ranked.c.relieved), *columns)
        .limit(MOST)
        .with_cte(short)
        .bind(database)
    )
    return fetch(query, _Candidate)


def _short() -> Any:
    """Stock of which less is on hand than packages and transfers hold, and by how many units."""
    promised, there = fn.SUM(Reservation.quantity), fn.GREATEST(Stock.on_hand, 0)
    # The index stock_short holds only what is short.
    return (
        Stock.select(Stock.sku, Stock.location, (promised - there).alias("units"))
        .join(
            Reservation,
            on=(Reservation.sku == Stock.sku)
            & (Reservation.location == Stock.location)
            & _is_live(Reservation),
        )
        .where(Stock.on_hand < Stock.reserved)
        .group_by(Stock.sku, Stock.location)
        .having(promised > there)
    )


def _is_live(held: type[Reservation]) -> Any:
    return held.released_at.is_null() & (held.kind != ReservationKind.DISCREPANCY)


def _give_way(candidate: _Candidate, actor: str, at: datetime) -> bool:
    with transaction(), acting(actor, at) as circumstances:
        if candidate.transfer_id is not None:
            return _let_transfer_go(candidate.transfer_id, circumstances)
        package = lock_package_by_id(candidate.package_id)
        holdings = lock_holdings(package)
        # All that it would give back, since stock is locked in one go and in one order.
        lock(_keys([*holdings.own, *holdings.brought]))
        held = holdings.own
        short = {short.sku: short.units for short in _shortages(_keys(held))}
        if package.state not in UNTOUCHED or not short:
            return False
        _part_or_give_back(package, _held_items(package, held), short, circumstances)
        return True


def _part_or_give_back(
    package: LockedPackage, held: list[Item], short: Mapping[str, int], circumstances: Circumstances
) -> None:
    """Only what is short leaves the package, and no more of it than is short.

    Where nothing would be left at its location, all of it is planned again. So is what transfers would bring
    there.
    """
    own = {item.id: item for item in package.items}
    picked = [(own[item.id], units) for item, units in pick(held, short)]
    if sum(units for _, units in picked) < sum(item.quantity for item in held):
        reason = f"{package.number} is short of it"
        new = part(package, picked, cause="shortfall", reason=reason, circumstances=circumstances)
        given_up: Counter[str] = Counter()
        for item, units in picked:
            given_up[item.sku] += units
        content = {"missing": dict(given_up), "package": new}
        change = Change(package.id, package.state, package.state, "parted", content)
        circumstances.door.change(PACKAGE, [change])
    else:
        leave(package, cause="shortfall", action="short_of_stock", circumstances=circumstances)


def _held_items(package: LockedPackage, reservation_ids: Collection[int]) -> list[Item]:
    """The items of a package with the units that they hold at its location, the last lines first."""
    units = units_of_items([*reservation_ids])
    return [item._replace(quantity=units[item.id]) for item in reversed(package.items) if item.id in units]


def _let_transfer_go(transfer_id: int, circumstances: Circumstances) -> bool:
    """A transfer that its source has not begun with is out of stock, and gets another source."""
    transfer = lock_transfer_by_id(transfer_id)
    held = reservations_of(transfer)
    keys = _keys(held)
    lock(keys)
    if transfer.state is not TransferState.WAITING or not _shortages(keys):
        return False
    stop(transfer, held, cause="shortfall", action="short_of_stock", circumstances=circumstances)
    return True


def _shortages(keys: Collection[Key]) -> list[_Shortage]:
    """Of this locked stock, what is short now.

    Since the candidates were listed a count may have brought it back, or others may have given way.
    """
    wanted = Arrays("wanted", {"sku": Stock.sku, "location_id": Stock.location}, keys)
    return fetch(_short().join_from(Stock, wanted, on=wanted.matches(Stock, "sku", "location_id")), _Shortage)


def _keys(reservation_ids: Collection[int]) -> list[Key]:
    query = Reservation.select(Reservation.sku, Reservation.location).distinct()
    return [*fetch(query.where(one_of(Reservation.id, reservation_ids)), _Held)]
