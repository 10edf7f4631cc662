"""Where lines do not go again for a while, because they were rejected there."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from peewee import EXCLUDED, fn

from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.models import ExcludedLocation, PackageItem
from oms_workers.sets import fetch, one_of


class _Exclusion(NamedTuple):
    order_item_id: int


class _Excluded(NamedTuple):
    package_id: int
    sku: str
    location_ids: list[int]


def exclude(order_item_ids: Iterable[int], location_id: int, circumstances: Circumstances) -> None:
    """Let these lines remember the location, so that no plan brings them back to the same shelf."""
    lines = [_Exclusion(id_) for id_ in sorted(set(order_item_ids))]
    if lines:
        until = circumstances.at + circumstances.exclusion
        # A later rejection lasts longer.
        ExcludedLocation.insertion(lines, location_id=location_id, until=until).on_conflict(
            conflict_target=[ExcludedLocation.order_item, ExcludedLocation.location],
            update={ExcludedLocation.until: EXCLUDED.until},
        ).execute()


def exclusions_of(package_ids: Sequence[int], now: datetime) -> dict[int, dict[str, frozenset[int]]]:
    """The locations to which lines of these packages do not return yet, by package and sku."""
    query = (
        PackageItem.select(
            PackageItem.package,
            PackageItem.sku,
            fn.array_agg(ExcludedLocation.location).coerce(_coerce=False).alias("location_ids"),
        )
        .join(ExcludedLocation, on=ExcludedLocation.order_item == PackageItem.order_item)
        .where(one_of(PackageItem.package, package_ids), ExcludedLocation.until > now)
        .group_by(PackageItem.package, PackageItem.sku)
    )
    found: dict[int, dict[str, frozenset[int]]] = {}
    for row in fetch(query, _Excluded):
        found.setdefault(row.package_id, {})[row.sku] = frozenset(row.location_ids)
    return found
