"""Locations and stock from a merchant's files: checked by name, and written in one transaction."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, NamedTuple

from peewee import EXCLUDED, Select, fn
from pydantic import BaseModel, ConfigDict, Field

from oms_workers.merchant_values import (
    Degrees,
    LoadError,
    Misfit,
    Moment,
    Name,
    Text,
    Whole,
    refuse,
    repeated,
)
from oms_workers.normal_form import normal_form
from oms_workers.reservations import counts
from oms_workers.reservations.codes import Codes
from oms_workers.reservations.counts import Count
from oms_workers.reservations.models import Location, Stock
from oms_workers.reservations.stock import Key
from oms_workers.sets import Arrays, column, fetch, for_change, one_of

#: What a location has to have from the first; a file that changes it may leave them out.
_NEEDED = ("name", "type")

#: What a file says of a location besides its columns.
_NO_COLUMNS = frozenset({"code", "complete"})


class LocationSpec(BaseModel):
    """A location as a file gives it; what it leaves out of a known one stays as it is.

    `complete` says that the stock beside it is all that the location has: of other skus it has none.
    """

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
    complete: bool = False


class StockSpec(BaseModel):
    """The stock of a sku at a location, in units, as a file gives it; `safety` of them are never promised.

    `on_hand` is what was counted at `counted_at`, or just now. What it leaves out of known stock stays as it
    is.
    """

    model_config = ConfigDict(extra="forbid")

    sku: Name
    location: Name
    on_hand: Whole = 0
    safety: Annotated[Whole, Field(ge=0)] = 0
    counted_at: Moment | None = None

    @property
    def is_count(self) -> bool:
        return "on_hand" in self.model_fields_set


class Complete(NamedTuple):
    """A location all of whose stock is in a file, counted at that time, or with the first of its counts."""

    location: str
    counted_at: datetime | None


class _Default(NamedTuple):
    code: str
    active: bool


class _Stocked(NamedTuple):
    sku: str
    location_id: int


def load_locations(specs: Sequence[LocationSpec]) -> int:
    """Add or change locations by code, in the caller's transaction; what a file leaves out stays as it is.

    Raises `LoadError`.
    """
    # Sorted by id, like planners, who lock the locations that have a quota: so the two cannot deadlock.
    column(for_change(Location.select(Location.id).order_by(Location.id)))
    codes = Codes()
    refuse(_misfits_of_locations(specs, codes))
    defaults = [codes.find(spec.code) or [spec.code] for spec in specs if spec.is_default]
    if defaults:
        others = (Location.is_default, Location.code != defaults[0][0])
        Location.update({Location.is_default: False}).where(*others).execute()
    # One statement for all of which a file gives the same columns.
    new, known = defaultdict(list), defaultdict(list)
    for spec in specs:
        kept = codes.find(spec.code)
        if kept:
            known[_given(spec)].append((kept[0], spec))
        else:
            new[_given(spec)].append(spec)
    for given, added in new.items():
        _add_locations(given, added)
    for given, changed in known.items():
        _change_locations(given, changed)
    if specs:
        _check_default()
    return len(specs)


def refuse_empty_counts(locations: Sequence[LocationSpec], stock: Sequence[StockSpec]) -> None:
    """Raise `LoadError` for a location that is said to be complete, and of which nothing is counted.

    A list that was forgotten would set all of its stock to zero.
    """
    counted = {normal_form(spec.location) for spec in stock if spec.is_count}
    problem = "none of its stock is given beside it; give at least one sku, of which 0 may be on_hand"
    refuse(
        Misfit(row, "complete", "true", problem)
        for row, spec in enumerate(locations)
        if spec.complete and normal_form(spec.code) not in counted
    )


def _misfits_of_locations(specs: Sequence[LocationSpec], codes: Codes) -> Iterator[Misfit]:
    named = [codes.find(spec.code) or [normal_form(spec.code)] for spec in specs]
    for row in repeated(found[0] for found in named):
        yield Misfit(row, "code", repr(specs[row].code), "is given twice; leave one of them out")
    for row, found in enumerate(named):
        if len(found) > 1:
            yield Misfit(row, "code", repr(specs[row].code), codes.said(specs[row].code))
    defaults = [(row, spec.code) for row, spec in enumerate(specs) if spec.is_default]
    for row, code in defaults[1:]:
        problem = f"only one location can be the default, and {defaults[0][1]} and {code} both say is_default"
        yield Misfit(row, "is_default", "true", problem)
    for row, spec in enumerate(specs):
        missing = [name for name in _NEEDED if name not in spec.model_fields_set]
        if missing and not codes.find(spec.code):
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


def _given(spec: LocationSpec) -> tuple[str, ...]:
    """What the file gives besides the code, which no update may set.

    PostgreSQL locks a row whose unique column is set as if its key changed. Whoever writes a package of the
    location would wait for that lock. It would deadlock with this transaction, which loads stock too.
    """
    return tuple(sorted(spec.model_fields_set - _NO_COLUMNS))


def _add_locations(given: Sequence[str], specs: Sequence[LocationSpec]) -> None:
    """Add locations, or change what the file gives of one, where another load has just added it."""
    columns = Location._meta.columns
    names = [name for name in LocationSpec.model_fields if name not in _NO_COLUMNS]
    new = Arrays(
        "new",
        {name: columns[name] for name in ("code", *names)},
        [attrgetter("code", *names)(spec) for spec in specs],
    )
    insertion = Location.insert_from(
        Select([new], [getattr(new.c, name) for name in new.fields]), [*new.fields.values()]
    )
    changed = {columns[name]: getattr(EXCLUDED, name) for name in given}
    insertion.on_conflict(
        conflict_target=[Location.code], update={Location.changed_at: fn.clock_timestamp(), **changed}
    ).execute()


def _change_locations(given: Sequence[str], specs: Sequence[tuple[str, LocationSpec]]) -> None:
    if not given:
        return
    columns = Location._meta.columns
    new = Arrays(
        "new",
        {name: columns[name] for name in ("code", *given)},
        [(code, *(getattr(spec, name) for name in given)) for code, spec in specs],
    )
    changed = {columns[name]: getattr(new.c, name) for name in given}
    update = Location.update({Location.changed_at: fn.clock_timestamp(), **changed})
    update.from_(new).where(new.matches(Location, "code")).execute()


def load_stock(
    specs: Sequence[StockSpec], *, at: datetime, complete: Sequence[Complete] = ()
) -> dict[Key, datetime]:
    """Set what is on hand, by sku and location, in the caller's transaction; what is left out stays as it is.

    What is on hand is the count and our own movements since it was made. It may be less than is reserved,
    which is a shortfall and no error. Returns what was counted, and when. Raises `LoadError`.
    """
    codes = Codes()
    refuse(_strangers(specs, codes))
    wanted = {(spec.sku, codes.id_of(spec.location)): spec for spec in specs}
    refuse(_misfits_of_stock(specs, codes, _stocked(specs), at))
    given = {key: _count(spec) for key, spec in wanted.items()}
    absent = _absent(given, {codes.id_of(each.location): each.counted_at for each in complete}, at)

    def refuse_older(last: Mapping[Key, datetime], summed: Mapping[Key, datetime]) -> None:
        refuse(_older(specs, codes, last, summed))

    return counts.write({**given, **absent}, at=at, check=refuse_older)


def _count(spec: StockSpec) -> Count:
    return Count(
        spec.on_hand if spec.is_count else None,
        spec.safety if "safety" in spec.model_fields_set else None,
        spec.counted_at,
    )


def _absent(
    given: Mapping[Key, Count], complete: Mapping[int, datetime | None], at: datetime
) -> dict[Key, Count]:
    """The stock that a complete list does not name: it was counted too, and there is none."""
    if not complete:
        return {}
    first: dict[int, datetime] = {}
    for (_, location_id), count in given.items():
        if count.on_hand is not None:
            first[location_id] = min(first.get(location_id, at), count.counted_at or at)
    times = {location_id: moment or first.get(location_id, at) for location_id, moment in complete.items()}
    stocked = fetch(
        Stock.select(Stock.sku, Stock.location).where(one_of(Stock.location, sorted(times))), _Stocked
    )
    return {
        (sku, location_id): Count(0, None, times[location_id], is_absent=True)
        for sku, location_id in stocked
        if (sku, location_id) not in given
    }


def _strangers(specs: Sequence[StockSpec], codes: Codes) -> Iterator[Misfit]:
    for row, spec in enumerate(specs):
        if len(codes.find(spec.location)) != 1:
            yield Misfit(row, "location", repr(spec.location), codes.said(spec.location))


def _misfits_of_stock(
    specs: Sequence[StockSpec], codes: Codes, stocked: set[Key], at: datetime
) -> Iterator[Misfit]:
    for row in repeated((spec.sku, codes.id_of(spec.location)) for spec in specs):
        yield Misfit(
            row, "sku", repr(specs[row].sku), "is given twice for one location; leave one of them out"
        )
    for row, spec in enumerate(specs):
        is_new = (spec.sku, codes.id_of(spec.location)) not in stocked
        if is_new and not spec.is_count:
            problem = f"the stock of {spec.sku!r} at {spec.location!r} is new and needs on_hand"
            yield Misfit(row, "on_hand", "", problem)
        if spec.counted_at is not None and not spec.is_count:
            yield Misfit(
                row, "counted_at", _said(spec.counted_at), "goes with on_hand, which was counted then"
            )
        if spec.counted_at is not None and spec.counted_at > at:
            problem = f"lies in the future, and it is {_said(at)}; set the clock of whoever counts"
            yield Misfit(row, "counted_at", _said(spec.counted_at), problem)


def _older(
    specs: Sequence[StockSpec],
    codes: Codes,
    last: Mapping[Key, datetime],
    summed: Mapping[Key, datetime],
) -> Iterator[Misfit]:
    for row, spec in enumerate(specs):
        key = (spec.sku, codes.id_of(spec.location))
        before, until = last.get(key), summed.get(key)
        if spec.counted_at is not None and before is not None and spec.counted_at < before:
            problem = f"is older than the last count, of {_said(before)}; leave it out"
            yield Misfit(row, "counted_at", _said(spec.counted_at), problem)
        elif spec.counted_at is not None and until is not None and spec.counted_at < until:
            problem = f"is older than movements that were summed up, until {_said(until)}; count it again"
            yield Misfit(row, "counted_at", _said(spec.counted_at), problem)


def _said(moment: datetime) -> str:
    return moment.isoformat()


def _stocked(specs: Sequence[StockSpec]) -> set[Key]:
    """Which of the skus that come without a count have a row, and where."""
    uncounted = sorted({spec.sku for spec in specs if not spec.is_count})
    query = Stock.select(Stock.sku, Stock.location).where(one_of(Stock.sku, uncounted))
    return {(found.sku, found.location_id) for found in fetch(query, _Stocked)} if uncounted else set()
