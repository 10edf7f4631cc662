"""How many packages a location still has to pack: what its quota limits, and its density."""

from collections.abc import Iterable
from typing import NamedTuple

from peewee import fn

from oms_workers.packages.models import Package, PackageState
from oms_workers.sets import among, fetch, one_of

#: Packages that a location still has to pack, as the index packages_open has them.
TO_PACK = (
    PackageState.WAITING,
    PackageState.WAITING_FOR_TRANSFER,
    PackageState.PREPARING,
    PackageState.BLOCKED,
    PackageState.CANCELLATION_WAITING,
)


class _Count(NamedTuple):
    location_id: int
    packages: int


def open_packages(location_ids: Iterable[int] | None) -> dict[int, int]:
    """How many packages these locations, or all, still have to pack; they count against the quota."""
    query = Package.select(Package.location, fn.COUNT(Package.id).alias("packages"))
    query = query.where(among(Package.state, TO_PACK))
    if location_ids is not None:
        wanted = sorted(location_ids)
        if not wanted:
            return {}
        query = query.where(one_of(Package.location, wanted))
    return dict(fetch(query.group_by(Package.location), _Count))
