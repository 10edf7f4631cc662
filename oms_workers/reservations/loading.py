"""Locations and stock from a merchant's files: checked by name, and written in one transaction."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

from peewee import EXCLUDED, Case, fn
from pydantic import BaseModel, ConfigDict, Field

from oms_workers.merchant_values import Degrees, LoadError, Misfit, Name, Text, Whole, refuse, repeated
from oms_workers.reservations.models import Location, MovementKind, Stock
from oms_workers.reservations.stock import Key, Level, add_missing, lock, note_movements
from oms_workers.sets import Arrays, column, constant, fetch, for_change, one_of

#: What a location has to have from the first; a file that changes it may leave them out.
_NEEDED = ("name", "type")


class LocationSpec(BaseModel):
    """A location as a file gives it; what it leaves out of a known one stays as it is."""

    model_config = ConfigDict(extra="forbid")

    code: Name
    name: Name = ""
    type: Name = ""
    active: bool = True
    priority: Whole = 0
    country: Text | None = None
    state: Text | None = None
    district: Text | None = None
    city: Text | None = None
    address: Text | None = None
    latitude: Annotated[Degrees | None, Field(ge=-90, le=90)] = None
    longitude: Annotated[Degrees | None, Field(ge=-180, le=180)] = None
    quota: Annotated[Whole | None, Field(ge=0)] = None
    is_default: bool = False


class StockSpec(BaseModel):
    """The stock of a sku at a location, in units, as a file gives it; `safety` of them are never promised.

    What it leaves out of known stock stays as it is.
    """

    model_config = ConfigDict(extra="forbid")

    sku: Name
    location: Name
    on_hand: Whole = 0
    safety: Annotated[Whole, Field(ge=0)] = 0


class _Code(NamedTuple):
    code: str
    id: int


class _Default(NamedTuple):
    code: str
    active: bool


class _Stocked(NamedTuple):
    sku: str
    location_id: int


class _Set(NamedTuple):
    sku: str
    location_id: int
    on_hand: int
    safety: int
    counted: bool


def load_locations(specs: Sequence[LocationSpec]) -> int:
    """Add or change locations by code, in the caller's transaction; what a file leaves out stays as it is.

    Raises `LoadError`.
    """
    # Sorted by id, like planners, who lock the locations that have a quota: so the two cannot deadlock.
    column(for_change(Location.select(Location.id).order_by(Location.id)))
    known = {*column(Location.select(Location.code))}
    refuse(_misfits_of_locations(specs, known))
    defaults = [spec.code for spec in specs if spec.is_default]
    if defaults:
        others = (Location.is_default, Location.code != defaults[0])
        Location.update({Location.is_default: False}).where(*others).execute()
    for spec in specs:
        _change_location(spec) if spec.code in known else _add_location(spec)
    if specs:
        _check_default()
    return len(specs)


def _misfits_of_locations(specs: Sequence[LocationSpec], known: set[str]) -> Iterator[Misfit]:
    for row in repeated(spec.code for spec in specs):
        yield Misfit(row, "code", repr(specs[row].code), "is given twice; leave one of them out")
    defaults = [(row, spec.code) for row, spec in enumerate(specs) if spec.is_default]
    for row, code in defaults[1:]:
        problem = f"only one location can be the default, and {defaults[0][1]} and {code} both say is_default"
        yield Misfit(row, "is_default", "true", problem)
    for row, spec in enumerate(specs):
        missing = [name for name in _NEEDED if name not in spec.model_fields_set]
        if missing and spec.code not in known:
            problem = f"the location {spec.code!r} is new and needs {' and '.join(missing)}"
            yield Misfit(row, missing[0], "", problem)


def _check_default() -> None:
    """Lines that no rule can place wait at the default location, so there has to be one that is open."""
    query = Location.select(Location.code, Location.active).where(Location.is_default)
    defaults = fetch(query, _Default)
    if not defaults:
        raise LoadError(
            "No location would be the default any more, where lines wait that no rule can place;"
            " mark one with is_default."
        )
    if not defaults[0].active:
        raise LoadError(
            f"The default location {defaults[0].code!r} would have active false, and lines wait there that no"
            " rule can place; keep it active, or mark another with is_default."
        )


def _add_location(spec: LocationSpec) -> None:
    """Add the location, or change what the file gives of it, where another load has just added it."""
    fields = Location._meta.columns
    changed = {fields[name]: getattr(EXCLUDED, name) for name in _given(spec)}
    Location.insert(spec.model_dump()).on_conflict(
        conflict_target=[Location.code],
        update={Location.changed_at: fn.clock_timestamp(), **changed},
    ).execute()


def _change_location(spec: LocationSpec) -> None:
    fields = Location._meta.columns
    changed = {fields[name]: getattr(spec, name) for name in _given(spec)}
    update = Location.update({Location.changed_at: fn.clock_timestamp(), **changed})
    update.where(Location.code == spec.code).execute()


def _given(spec: LocationSpec) -> list[str]:
    """What the file gives besides the code, which no update may set.

    PostgreSQL locks a row whose unique column is set as if its key changed. Whoever writes a package of the
    location would wait for that lock. It would deadlock with this transaction, which loads stock too.
    """
    return sorted(spec.model_fields_set - {"code"})


def load_stock(specs: Sequence[StockSpec], *, at: datetime) -> int:
    """Set what is on hand, by sku and location, in the caller's transaction; what is left out stays as it is.

    It is a snapshot: it may say less than is reserved, which is a shortfall and no error.
    Raises `LoadError`.
    """
    if not specs:
        return 0
    locations = dict(fetch(Location.select(Location.code, Location.id), _Code))
    refuse(_strangers(specs, locations))
    wanted = {(spec.sku, locations[spec.location]): spec for spec in specs}
    refuse(_misfits_of_stock(specs, locations, _stocked(specs)))
    keys = sorted(wanted)
    add_missing(keys)
    before = lock(keys)
    levels = [_level(key, wanted[key], before[key]) for key in keys]
    _set(levels, at)
    moved = [(level.sku, level.location_id, level.on_hand - before[level[:2]].on_hand) for level in levels]
    changed = [move for move in moved if move[2]]
    note_movements(changed, kind=MovementKind.SNAPSHOT, reason="oms load", at=at)
    return len(wanted)


def _strangers(specs: Sequence[StockSpec], locations: Mapping[str, int]) -> Iterator[Misfit]:
    for row, spec in enumerate(specs):
        if spec.location not in locations:
            yield Misfit(row, "location", repr(spec.location), "no such location is known; load it first")


def _misfits_of_stock(
    specs: Sequence[StockSpec], locations: Mapping[str, int], stocked: set[Key]
) -> Iterator[Misfit]:
    for row in repeated((spec.sku, spec.location) for spec in specs):
        yield Misfit(
            row, "sku", repr(specs[row].sku), "is given twice for one location; leave one of them out"
        )
    for row, spec in enumerate(specs):
        is_new = (spec.sku, locations[spec.location]) not in stocked
        if is_new and "on_hand" not in spec.model_fields_set:
            problem = f"the stock of {spec.sku!r} at {spec.location!r} is new and needs on_hand"
            yield Misfit(row, "on_hand", "", problem)


def _stocked(specs: Sequence[StockSpec]) -> set[Key]:
    """Which of the skus that come without a count have a row, and where."""
    uncounted = sorted({spec.sku for spec in specs if "on_hand" not in spec.model_fields_set})
    query = Stock.select(Stock.sku, Stock.location).where(one_of(Stock.sku, uncounted))
    return {(found.sku, found.location_id) for found in fetch(query, _Stocked)} if uncounted else set()


def _level(key: Key, spec: StockSpec, before: Level) -> _Set:
    given = spec.model_fields_set
    return _Set(
        *key,
        spec.on_hand if "on_hand" in given else before.on_hand,
        spec.safety if "safety" in given else before.safety,
        "on_hand" in given,
    )


def _set(levels: Sequence[_Set], at: datetime) -> None:
    """Only a count is a snapshot; a file that gives only the safety has counted nothing."""
    new = Arrays.of(Stock, levels, counted=Location.active)
    has_risen = new.c.on_hand - new.c.safety > Stock.on_hand - Stock.safety
    counted_at = Case(None, [(new.c.counted, constant(Stock.snapshot_at, at))], Stock.snapshot_at)
    Stock.update(
        {
            Stock.on_hand: new.c.on_hand,
            Stock.safety: new.c.safety,
            Stock.snapshot_at: counted_at,
            Stock.risen_at: Case(None, [(has_risen, fn.clock_timestamp())], Stock.risen_at),
        }
    ).from_(new).where(new.matches(Stock, "sku", "location_id")).execute()
