"""Orders on their way, as `oms up` shows them: of a demonstration's size."""

from datetime import datetime
from typing import Any, NamedTuple

from peewee import JOIN, SQL, NodeList, fn

from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState
from oms_workers.orders.models import Order, OrderState, RejectedOrder
from oms_workers.packages.models import TO_PACK, Package, PackageItem, PackageState, TransferOrder
from oms_workers.reservations.models import Location
from oms_workers.sets import among, fetch, none_of

P = PackageState

#: Packages that are packed, or further.
PACKED = tuple(state for state in P if P.PACKED <= state <= P.DELIVERED)


class LocationLoad(NamedTuple):
    """How many packages a location has to pack."""

    code: str
    packages: int


class LatestPackage(NamedTuple):
    """A package that changed lately, with its items in words."""

    number: str
    order_number: str
    code: str
    state: PackageState
    changed_at: datetime
    items: str


def count_orders() -> dict[str, int]:
    """Orders by state, rejected ones, packages and transfers included."""
    waiting, plan = Order.state == OrderState.WAITING, OrderExecutionPlan
    of_transfer = NodeList((plan.context, SQL("? 'transfer'")))
    replanned = plan.select().where(
        ~plan.package_id.is_null(), plan.state == PlanState.COMPLETED, ~of_transfer
    )
    return {
        "pulled": Order.select().count(),
        "waiting": Order.select().where(waiting).count(),
        "planned": Order.select().where(~waiting).count(),
        "rejected": RejectedOrder.select().count(),
        "packages": Package.select().where(Package.state != P.CANCELLED).count(),
        "packed": Package.select().where(among(Package.state, PACKED)).count(),
        "out_of_stock": Package.select().where(Package.state == P.OUT_OF_STOCK).count(),
        "replanned": replanned.count(),
        "transfers": TransferOrder.select().count(),
    }


def loads() -> list[LocationLoad]:
    """Each location with the packages that it has to pack."""
    to_pack = (*TO_PACK[:-1], P.READY_FOR_PACKAGING)
    query = (
        Location.select(Location.code, fn.COUNT(Package.id).alias("packages"))
        .join(Package, JOIN.LEFT_OUTER, on=(Package.location == Location.id) & among(Package.state, to_pack))
        .group_by(Location.id)
        .order_by(Location.id)
    )
    return fetch(query, LocationLoad)


def latest_packages(limit: int) -> list[LatestPackage]:
    """The packages that changed last."""
    words = NodeList((PackageItem.quantity, SQL("|| ' × ' ||"), PackageItem.sku))
    items = PackageItem.select(fn.string_agg(words, ", ").order_by(PackageItem.id))
    query = (
        Package.select(
            Package.number,
            Order.number.alias("order_number"),
            Location.code,
            Package.state,
            Package.changed_at,
            items.where(PackageItem.package == Package.id).alias("items"),
        )
        .join(Order)
        .join_from(Package, Location)
        .order_by(Package.changed_at.desc(), Package.id.desc())
        .limit(limit)
    )
    return fetch(query, LatestPackage)


def stranger(codes: list[str]) -> str | None:
    """An order that is not the sandbox's, or a location besides these: which a merchant has loaded."""
    sandboxed: Any = Order.payload["extra_field"]["sandbox"]
    orders = fetch(Order.select(Order.number).where(sandboxed.is_null()).limit(1), _Named)
    others = Location.select(Location.code.alias("number")).where(none_of(Location.code, codes))
    locations = fetch(others.limit(1), _Named)
    for kind, found in (("order", orders), ("the location", locations)):
        if found:
            return f"{kind} {found[0].number}"
    return None


class _Named(NamedTuple):
    number: str
