"""Locations and stock from a merchant's files: checked by name, and written in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

from peewee import EXCLUDED, Case, fn
from pydantic import BaseModel, ConfigDict, Field

from oms_workers.errors import OmsError
from oms_workers.reservations.models import Location, MovementKind, Stock
from oms_workers.reservations.stock import add_missing, lock, note_movements
from oms_workers.sets import Arrays, column, exists, fetch, for_change

Text = Annotated[str, Field(min_length=1, max_length=255)]


class LoadError(OmsError):
    """A file for `oms load` has something that cannot be true; nothing of it was written."""


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
    """The stock of a sku at a location, in units, as a file gives it; `safety` of them are never promised."""

    model_config = ConfigDict(extra="forbid")

    sku: Text
    location: Text
    on_hand: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
    safety: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0


class _Code(NamedTuple):
    code: str
    id: int


class _Snapshot(NamedTuple):
    sku: str
    location_id: int
    on_hand: int
    safety: int


def load_locations(specs: Sequence[LocationSpec]) -> int:
    """Add or change locations by code, in the caller's transaction; what a file leaves out stays as it is.

    Raises `LoadError`.
    """
    defaults = [spec.code for spec in specs if spec.is_default]
    if len(defaults) > 1:
        raise LoadError(
            f"Only one location can be the default, and {' and '.join(defaults)} both say is_default."
        )
    # Sorted by id, like planners, who lock the locations that have a quota: so the two cannot deadlock.
    column(for_change(Location.select(Location.id).order_by(Location.id)))
    if defaults:
        others = (Location.is_default, Location.code != defaults[0])
        Location.update({Location.is_default: False}).where(*others).execute()
    for spec in specs:
        _write_location(spec)
    if specs and not exists(Location.select(Location.id).where(Location.is_default)):
        raise LoadError(
            "No location would be the default any more, where lines wait that no rule can place;"
            " mark one with is_default."
        )
    return len(specs)


def _write_location(spec: LocationSpec) -> None:
    """Add the location, or change what the file gives of it."""
    # The update must not set `code`. PostgreSQL locks a row whose unique column is set as if its key changed.
    # A planner that writes a package of the location would wait for that lock. It would deadlock with this
    # transaction, which loads stock too.
    given = sorted(spec.model_fields_set - {"code"})
    fields = Location._meta.columns
    changed = {fields[name]: getattr(EXCLUDED, name) for name in given}
    Location.insert(spec.model_dump()).on_conflict(
        conflict_target=[Location.code],
        update={Location.changed_at: fn.clock_timestamp(), **changed},
    ).execute()


def load_stock(specs: Sequence[StockSpec], *, at: datetime) -> int:
    """Set what is on hand, by sku and location, in the caller's transaction.

    It is a snapshot: it may say less than is reserved, which is a shortfall and no error.
    Raises `LoadError`.
    """
    if not specs:
        return 0
    locations = dict(fetch(Location.select(Location.code, Location.id), _Code))
    unknown = sorted({spec.location for spec in specs} - set(locations))
    if unknown:
        raise LoadError(f"Stock is given for the location {unknown[0]!r}, which is not known; load it first.")
    snapshots = [_Snapshot(spec.sku, locations[spec.location], spec.on_hand, spec.safety) for spec in specs]
    wanted = {(each.sku, each.location_id): each for each in sorted(snapshots)}
    if len(wanted) < len(specs):
        raise LoadError("The stock of one sku at one location is given twice.")
    add_missing(wanted)
    before = lock(wanted)
    _set([*wanted.values()], at)
    moved = [(*key, snapshot.on_hand - before[key].on_hand) for key, snapshot in wanted.items()]
    changed = [move for move in moved if move[2]]
    note_movements(changed, kind=MovementKind.SNAPSHOT, reason="oms load", at=at)
    return len(wanted)


def _set(snapshots: Sequence[_Snapshot], at: datetime) -> None:
    new = Arrays.of(Stock, snapshots)
    has_risen = new.c.on_hand - new.c.safety > Stock.on_hand - Stock.safety
    Stock.update(
        {
            Stock.on_hand: new.c.on_hand,
            Stock.safety: new.c.safety,
            Stock.snapshot_at: at,
            Stock.risen_at: Case(None, [(has_risen, fn.clock_timestamp())], Stock.risen_at),
        }
    ).from_(new).where(new.matches(Stock, "sku", "location_id")).execute()
