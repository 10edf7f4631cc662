"""The stock protocol: read without a lock, decide, lock in one order, check again, write.

Every path that takes stock comes through `lock_and_check()` and `reserve()`, in one transaction. Rows are
locked sorted by (sku, location), whoever comes, so that two of them never wait for each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from oms_workers.database import execute, rows
from oms_workers.reservations.models import ReservationKind

#: Units available now, by sku and location.
Available = dict[str, dict[int, int]]

#: Units wanted, by (sku, location): summed over all lines before anything is compared.
Demand = Mapping[tuple[str, int], int]


class NewReservation(NamedTuple):
    """Units of a sku at a location that are spoken for by a package's item."""

    sku: str
    location_id: int
    quantity: int
    package_item_id: int


def available(skus: Iterable[str]) -> Available:
    """What could be taken now, of these skus, anywhere. Not locked: it may be gone a moment later."""
    found: Available = {}
    for sku, location_id, units in rows(
        """
        SELECT sku, location_id, on_hand - reserved - safety
        FROM stock
        WHERE sku = ANY(%s)
        """,
        (sorted(skus),),
    ):
        found.setdefault(sku, {})[location_id] = units
    return found


def lock_and_check(demands: Sequence[Demand]) -> list[bool]:
    """Lock the stock that is wanted, and say which of the demands it still meets, first come first served.

    What is said True can be reserved until the transaction ends.
    """
    left = _lock({key for demand in demands for key in demand})
    return [_take(left, demand) for demand in demands]


def _lock(keys: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
    # An UPDATE that joins the keys would lock in whatever order its plan visits them: from 250 keys on it
    # is a hash join, and two of them deadlock. Here the rows are sorted before they are locked.
    found = rows(
        """
        SELECT stock.sku, stock.location_id, on_hand - reserved - safety AS units
        FROM stock
        JOIN unnest(%s::text[], %s::bigint[]) AS wanted (sku, location_id)
          ON stock.sku = wanted.sku COLLATE "C" AND stock.location_id = wanted.location_id
        ORDER BY stock.sku COLLATE "C", stock.location_id
        FOR NO KEY UPDATE OF stock
        """,
        ([sku for sku, _ in keys], [location_id for _, location_id in keys]),
    )
    return {(sku, location_id): units for sku, location_id, units in found}


def _take(left: dict[tuple[str, int], int], demand: Demand) -> bool:
    if any(left.get(key, 0) < units for key, units in demand.items()):
        return False
    for key, units in demand.items():
        left[key] -= units
    return True


def reserve(reservations: Sequence[NewReservation], *, reason: str, at: datetime) -> None:
    """Write reservations of packages that `lock_and_check` has found room for, and count them."""
    if not reservations:
        return
    columns = [list(column) for column in zip(*reservations, strict=True)]
    execute(
        """
        INSERT INTO reservations (sku, location_id, quantity, package_item_id, kind, created_at)
        SELECT new.*, %s, %s
        FROM unnest(%s::text[], %s::bigint[], %s::int[], %s::bigint[]) AS new
        """,
        (ReservationKind.PACKAGE.value, at, *columns),
    )
    _count(reservations)
    moved = [(new.sku, new.location_id, new.quantity) for new in reservations]
    move(moved, kind="reserved", reason=reason, at=at)


def _count(reservations: Sequence[NewReservation]) -> None:
    deltas: defaultdict[tuple[str, int], int] = defaultdict(int)
    for new in reservations:
        deltas[new.sku, new.location_id] += new.quantity
    execute(
        """
        UPDATE stock
        SET reserved = reserved + delta.units
        FROM unnest(%s::text[], %s::bigint[], %s::int[]) AS delta (sku, location_id, units)
        WHERE stock.sku = delta.sku COLLATE "C" AND stock.location_id = delta.location_id
        """,
        ([sku for sku, _ in deltas], [location for _, location in deltas], [*deltas.values()]),
    )


def move(movements: Sequence[tuple[str, int, int]], *, kind: str, reason: str, at: datetime) -> None:
    """Note changes of stock: sku, location and units, of the kind `reserved`, `snapshot`, …"""
    if not movements:
        return
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
        SELECT moved.*, %s, %s, %s
        FROM unnest(%s::text[], %s::bigint[], %s::int[]) AS moved
        """,
        (kind, reason, at, *(list(column) for column in zip(*movements, strict=True))),
    )
