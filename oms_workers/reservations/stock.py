"""The stock protocol: read without a lock, decide, lock in one order, check again, write.

Every path that takes stock comes through `lock_and_check()` and `reserve()`, in one transaction, and every
path that gives it back through `release.py`. Rows are locked sorted by (sku, location), whoever comes, so
that two of them never wait for each other; before them orders, packages and reservations, each sorted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from oms_workers.database import execute, rows
from oms_workers.reservations.models import ReservationKind

#: Units available now, by sku and location.
Available = dict[str, dict[int, int]]

#: A stock row's key: sku and location's id.
Key = tuple[str, int]

#: Units wanted, by (sku, location): summed over all lines before anything is compared.
Demand = Mapping[Key, int]

#: A change of stock in units, at (sku, location).
Movement = tuple[str, int, int]


class Level(NamedTuple):
    """What a location has of a sku, in units."""

    on_hand: int
    reserved: int
    safety: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved - self.safety


class NewReservation(NamedTuple):
    """Units of a sku at a location that are spoken for: by an item of a package or a transfer, or by none."""

    sku: str
    location_id: int
    quantity: int
    package_item_id: int | None = None
    transfer_item_id: int | None = None
    kind: ReservationKind = ReservationKind.PACKAGE
    expires_at: datetime | None = None


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
    levels = lock({key for demand in demands for key in demand})
    left = {key: level.available for key, level in levels.items()}
    return [_take(left, demand) for demand in demands]


def lock(keys: Iterable[Key]) -> dict[Key, Level]:
    """Lock these rows of stock, sorted, and read them; unknown ones are left out."""
    pairs = [*keys]
    if not pairs:
        return {}
    # An UPDATE that joins the keys would lock in whatever order its plan visits them: from 250 keys on it
    # is a hash join, and two of them deadlock. Here the rows are sorted before they are locked.
    found = rows(
        """
        SELECT stock.sku, stock.location_id, on_hand, reserved, safety
        FROM stock
        JOIN unnest(%s::text[], %s::bigint[]) AS wanted (sku, location_id)
          ON stock.sku = wanted.sku COLLATE "C" AND stock.location_id = wanted.location_id
        ORDER BY stock.sku COLLATE "C", stock.location_id
        FOR NO KEY UPDATE OF stock
        """,
        ([sku for sku, _ in pairs], [location_id for _, location_id in pairs]),
    )
    return {(sku, location_id): Level(*units) for sku, location_id, *units in found}


def add_missing(keys: Iterable[Key]) -> None:
    """Rows for stock that has none yet, sorted, so that whoever comes at the same time meets their locks."""
    pairs = sorted(set(keys))
    execute(
        """
        INSERT INTO stock (sku, location_id, on_hand)
        SELECT new.*, 0
        FROM unnest(%s::text[], %s::bigint[]) AS new
        ON CONFLICT DO NOTHING
        """,
        ([sku for sku, _ in pairs], [location_id for _, location_id in pairs]),
    )


def _take(left: dict[Key, int], demand: Demand) -> bool:
    if any(left.get(key, 0) < units for key, units in demand.items()):
        return False
    for key, units in demand.items():
        left[key] -= units
    return True


def reserve(reservations: Sequence[NewReservation], *, reason: str, at: datetime) -> None:
    """Write reservations that `lock_and_check` has found room for, and count them."""
    if not reservations:
        return
    columns = [list(column) for column in zip(*reservations, strict=True)]
    execute(
        """
        INSERT INTO reservations
            (sku, location_id, quantity, package_item_id, transfer_item_id, kind, expires_at, created_at)
        SELECT new.*, %s
        FROM unnest(%s::text[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[], %s::text[],
                    %s::timestamptz[]) AS new
        """,
        (at, *columns),
    )
    moved = [(new.sku, new.location_id, new.quantity) for new in reservations]
    change_counters(moved, reserved=1)
    note_movements(moved, kind="reserved", reason=reason, at=at)


def change_counters(movements: Sequence[Movement], *, on_hand: int = 0, reserved: int = 0) -> None:
    """Add the movements' units to the counters, each as often as is said; the rows must be locked."""
    deltas: defaultdict[Key, int] = defaultdict(int)
    for sku, location_id, units in movements:
        deltas[sku, location_id] += units
    execute(
        """
        UPDATE stock
        SET on_hand = on_hand + delta.units * %s, reserved = reserved + delta.units * %s,
            risen_at = CASE WHEN delta.units * %s > 0 THEN clock_timestamp() ELSE risen_at END
        FROM unnest(%s::text[], %s::bigint[], %s::int[]) AS delta (sku, location_id, units)
        WHERE stock.sku = delta.sku COLLATE "C" AND stock.location_id = delta.location_id
        """,
        (
            on_hand,
            reserved,
            on_hand - reserved,
            [sku for sku, _ in deltas],
            [location_id for _, location_id in deltas],
            [*deltas.values()],
        ),
    )


def note_movements(movements: Sequence[Movement], *, kind: str, reason: str, at: datetime) -> None:
    """Note changes of stock: sku, location and units, of the kind `reserved`, `released`, `snapshot`, …"""
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
