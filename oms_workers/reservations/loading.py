"""Locations and stock from a merchant's files, checked by name and written as one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from oms_workers.database import execute, row, rows
from oms_workers.errors import OmsError
from oms_workers.reservations.stock import Key, add_missing, lock, note_movements

_LOCATION_COLUMNS = (
    "code",
    "name",
    "type",
    "active",
    "priority",
    "country",
    "state",
    "district",
    "city",
    "address",
    "latitude",
    "longitude",
    "quota",
    "is_default",
)

Text = Annotated[str, Field(min_length=1, max_length=255)]


class LoadError(OmsError):
    """A file for `oms load` says something that cannot be; nothing of it was written."""


class LocationSpec(BaseModel):
    """A location as a file gives it."""

    model_config = ConfigDict(extra="forbid")

    code: Text
    name: Text
    type: Text
    active: bool = True
    priority: int = 0
    country: str | None = None
    state: str | None = None
    district: str | None = None
    city: str | None = None
    address: str | None = None
    latitude: Annotated[float | None, Field(ge=-90, le=90)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180)] = None
    quota: Annotated[int | None, Field(ge=0)] = None
    is_default: bool = False


class StockSpec(BaseModel):
    """What a location has of a sku, in units; `safety` of them are never promised."""

    model_config = ConfigDict(extra="forbid")

    sku: Text
    location: Text
    on_hand: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
    safety: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0


def load_locations(specs: Sequence[LocationSpec]) -> int:
    """Add or change locations by code, in the caller's transaction; what a file leaves out stays as it is.

    Raises `LoadError`.
    """
    defaults = [spec.code for spec in specs if spec.is_default]
    if len(defaults) > 1:
        raise LoadError(
            f"Only one location can be the default, and {' and '.join(defaults)} both say is_default."
        )
    # In one order, whoever comes: planners lock those that have a quota.
    execute("SELECT id FROM locations ORDER BY id FOR NO KEY UPDATE")
    if defaults:
        execute("UPDATE locations SET is_default = false WHERE is_default AND code <> %s", (defaults[0],))
    for spec in specs:
        # Naming the unique column would take the lock of one who changes a key: whoever writes a package of
        # the location would wait for it, and deadlock with the stock that is loaded in this transaction.
        given = sorted(spec.model_fields_set - {"code"})
        execute(
            f"""
            INSERT INTO locations ({", ".join(_LOCATION_COLUMNS)})
            VALUES ({", ".join(f"%({column})s" for column in _LOCATION_COLUMNS)})
            ON CONFLICT (code) DO UPDATE
            SET changed_at = clock_timestamp(),
                {", ".join(f"{column} = excluded.{column}" for column in given)}
            """,
            spec.model_dump(),
        )
    if specs and row("SELECT id FROM locations WHERE is_default") is None:
        raise LoadError(
            "No location would be the default any more, where lines wait that no rule can place;"
            " mark one with is_default."
        )
    return len(specs)


def load_stock(specs: Sequence[StockSpec], *, at: datetime) -> int:
    """Set what is on hand, by sku and location, in the caller's transaction: a snapshot, which may lawfully
    say less than is reserved. Raises `LoadError`."""
    if not specs:
        return 0
    locations = {code: id_ for id_, code in rows("SELECT id, code FROM locations")}
    unknown = sorted({spec.location for spec in specs} - set(locations))
    if unknown:
        raise LoadError(f"Stock is given for the location {unknown[0]!r}, which is not known; load it first.")
    wanted = {(spec.sku, locations[spec.location]): (spec.on_hand, spec.safety) for spec in specs}
    if len(wanted) < len(specs):
        raise LoadError("The stock of one sku at one location is given twice.")
    add_missing(wanted)
    before = lock(wanted)
    _set(wanted, at)
    moved = [(*key, on_hand - before[key].on_hand) for key, (on_hand, _) in wanted.items()]
    note_movements([move for move in moved if move[2]], kind="snapshot", reason="oms load", at=at)
    return len(wanted)


def _set(wanted: dict[Key, tuple[int, int]], at: datetime) -> None:
    columns: Any = zip(*((*key, *units) for key, units in sorted(wanted.items())), strict=True)
    execute(
        """
        UPDATE stock
        SET on_hand = new.on_hand, safety = new.safety, snapshot_at = %s,
            risen_at = CASE
                WHEN new.on_hand - new.safety > stock.on_hand - stock.safety THEN clock_timestamp()
                ELSE risen_at
            END
        FROM unnest(%s::text[], %s::bigint[], %s::int[], %s::int[]) AS new (sku, location_id, on_hand, safety)
        WHERE stock.sku = new.sku COLLATE "C" AND stock.location_id = new.location_id
        """,
        (at, *(list(column) for column in columns)),
    )
