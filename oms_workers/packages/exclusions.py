"""Where lines do not go again for a while, because they were rejected there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from peewee import EXCLUDED, Value, fn

from oms_workers.orders.models import OrderItem
from oms_workers.packages.circumstances import Circumstances
from oms_workers.packages.models import ExcludedLocation, PackageItem
from oms_workers.reservations.rises import note_rise
from oms_workers.reservations.stock import Key
from oms_workers.sets import Arrays, fetch, one_of


class _Exclusion(NamedTuple):
    order_item_id: int
    about_stock: bool


class _Ended(NamedTuple):
    order_id: int
    location_id: int
    excluded_at: datetime
    sku: str


class _Excluded(NamedTuple):
    package_id: int
    sku: str
    location_ids: list[int]


def exclude(
    order_item_ids: Iterable[int],
    location_id: int,
    circumstances: Circumstances,
    *,
    missing: Collection[int] = (),
) -> None:
    """Let these lines remember the location, so that no plan brings them back to the same shelf.

    `missing` are those of which the rejection says that units are not there.
    """
    lines = [_Exclusion(id_, id_ in missing) for id_ in sorted(set(order_item_ids))]
    if lines:
        until = circumstances.at + circumstances.exclusion
        constants = {"location_id": location_id, "until": until, "excluded_at": circumstances.at}
        # A later rejection lasts longer.
        ExcludedLocation.insertion(lines, **constants).on_conflict(
            conflict_target=[ExcludedLocation.order_item, ExcludedLocation.location],
            update={
                ExcludedLocation.until: EXCLUDED.until,
                ExcludedLocation.excluded_at: EXCLUDED.excluded_at,
                ExcludedLocation.about_stock: EXCLUDED.about_stock,
            },
        ).execute()


def end_by_counts(counted: Mapping[Key, datetime], *, at: datetime) -> None:
    """End the exclusions of lines that were not there, where their sku was counted since.

    Lines of the same rejection that were there return too, once all of its missing lines may.
    """
    if not counted:
        return
    excluded = ExcludedLocation
    wanted = Arrays(
        "wanted",
        {"sku": OrderItem.sku, "location_id": excluded.location, "counted_at": excluded.until},
        [(*key, moment) for key, moment in counted.items()],
    )
    ended = excluded.update({excluded.until: at}).from_(wanted, OrderItem)
    ended = ended.where(
        OrderItem.id == excluded.order_item,
        OrderItem.sku == wanted.c.sku,
        excluded.location == wanted.c.location_id,
        excluded.excluded_at < wanted.c.counted_at,
        excluded.about_stock,
        excluded.until > at,
    )
    returned = ended.returning(OrderItem.order, excluded.location, excluded.excluded_at, OrderItem.sku)
    found = fetch(returned, _Ended)
    note_rise(row.sku for row in found)
    _end_companions(found, at)


def _end_companions(found: Sequence[_Ended], at: datetime) -> None:
    if not found:
        return
    excluded, other, other_line = (
        ExcludedLocation,
        ExcludedLocation.alias("other"),
        OrderItem.alias("other_line"),
    )
    same = Arrays(
        "same",
        {"order_id": OrderItem.order, "location_id": excluded.location, "excluded_at": excluded.until},
        {row[:3] for row in found},
    )
    still_missing = (
        other.select(Value(1))
        .join(other_line, on=other_line.id == other.order_item)
        .where(
            other_line.order == same.c.order_id,
            other.location == same.c.location_id,
            other.excluded_at == same.c.excluded_at,
            other.about_stock,
            other.until > at,
        )
    )
    update = excluded.update({excluded.until: at}).from_(same, OrderItem)
    update.where(
        OrderItem.id == excluded.order_item,
        OrderItem.order == same.c.order_id,
        excluded.location == same.c.location_id,
        excluded.excluded_at == same.c.excluded_at,
        excluded.until > at,
        ~fn.EXISTS(still_missing),
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
