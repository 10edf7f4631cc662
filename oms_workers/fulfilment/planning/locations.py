"""Which locations a rule may use for an order, what they have of it, and in which order they are asked.

`Sieve` says which pass a rule's filters, and for the others the first check that they fail, in words.
`Supply` says what they have of the lines that are left.

`rank` compares criteria one after the other, never as a weighted sum: the first that does not tie decides.
Where a location or the order lacks what a criterion compares, the location stands behind those that have it.
The last tie-break is the location's id.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from math import asin, cos, radians, sin, sqrt
from typing import NamedTuple

from oms_workers.fulfilment.planning.plans import Available, LineToPlan, LocationToPlan, Offer, wanted
from oms_workers.fulfilment.planning.scenarios import Filters
from oms_workers.fulfilment.planning.trace import Verdicts, refusal
from oms_workers.normal_form import normal_form

_SAME = ("country", "state", "district")

EARTH_RADIUS_KM = 6371.0

Value = float | None


class Sieved(NamedTuple):
    """The locations that pass, by id, and the trace of those that do not."""

    passed: Sequence[LocationToPlan]
    refused: Verdicts


class Sieve:
    """Applies filters to all locations, once for the orders that they see alike."""

    def __init__(self, locations: Iterable[LocationToPlan]) -> None:
        self._locations = sorted(locations, key=lambda location: location.id)
        self._known: dict[tuple[Filters, tuple[str | None, ...]], Sieved] = {}

    def apply(self, filters: Filters, facts: Mapping[str, str]) -> Sieved:
        """The locations that these filters let through for an order with these facts."""
        address = tuple(facts.get(name) if getattr(filters, f"same_{name}") else None for name in _SAME)
        key = (filters, address)
        if key not in self._known:
            refused = Verdicts()
            passed = []
            for location in self._locations:
                reason = _refusal(filters, facts, location)
                if reason is None:
                    passed.append(location)
                else:
                    refused.add(reason, partial(refusal, location, reason))
            self._known[key] = Sieved(passed, refused)
        return self._known[key]


def _refusal(filters: Filters, facts: Mapping[str, str], location: LocationToPlan) -> str | None:
    """The first of the filters that the location fails, in words, or None."""
    if not location.active:
        return "is not active"
    if filters.locations is not None and location.code not in filters.locations:
        return "is not in the rule's list"
    if location.code in filters.except_locations:
        return "is in the rule's except-list"
    if filters.types is not None and location.type not in filters.types:
        return f"has the type {location.type}, which the rule does not use"
    for name in _SAME:
        if getattr(filters, f"same_{name}") and not _alike(getattr(location, name), facts.get(name)):
            return f"is not in the order's {name}"
    return None


def _alike(one: str | None, other: str | None) -> bool:
    return bool(one and other) and normal_form(str(one)) == normal_form(str(other))


class Supply:
    """What all locations have of the lines that are left, in sets, since there may be thousands of locations.

    `usable` are the units by sku and location's id, without those of locations that have rejected the sku.
    """

    def __init__(
        self, lines: Sequence[LineToPlan], stock: Available, excluded: Mapping[str, frozenset[int]]
    ) -> None:
        self.needed = wanted(lines)
        self.there = {sku: stock.get(sku, {}) for sku in self.needed}
        self.usable = {
            sku: _without(places, excluded[sku]) if sku in excluded else places
            for sku, places in self.there.items()
        }

    @cached_property
    def amounts(self) -> dict[int, int]:
        """The units that the order can use, by location's id; only of those that have some."""
        amounts: dict[int, int] = {}
        for sku, needed in self.needed.items():
            for id_, units in self.usable[sku].items():
                if units > 0:
                    amounts[id_] = amounts.get(id_, 0) + (units if units < needed else needed)
        return amounts

    @cached_property
    def heaps(self) -> dict[int, int]:
        """All units of these skus, by location's id; only of those that have some."""
        heaps: dict[int, int] = {}
        for places in self.usable.values():
            for id_, units in places.items():
                if units > 0:
                    heaps[id_] = heaps.get(id_, 0) + units
        return heaps

    @cached_property
    def whole(self) -> set[int]:
        """The ids of the locations that have everything."""
        return set.intersection(
            *(
                {id_ for id_, units in self.usable[sku].items() if units >= needed}
                for sku, needed in self.needed.items()
            )
        )

    def lacking(self, sources: Iterable[int]) -> dict[str, int]:
        """The units by sku that these locations do not have together; none where they have everything."""
        ids = [*sources]
        lacking = {}
        for sku, needed in self.needed.items():
            usable = self.usable[sku]
            together = sum(units for id_ in ids if (units := usable.get(id_, 0)) > 0)
            if together < needed:
                lacking[sku] = needed - together
        return lacking

    def at(self, location_id: int) -> dict[str, int]:
        """The units by sku that the location has, whether or not it has rejected them."""
        return {sku: places.get(location_id, 0) for sku, places in self.there.items()}

    def has_any_at(self, location_id: int) -> bool:
        """Whether the location has a unit, whether or not it has rejected it."""
        return any(places.get(location_id, 0) > 0 for places in self.there.values())

    def offer(self, location: LocationToPlan, values: dict[str, Value]) -> Offer:
        """What the location offers, with the values that a ranking has compared."""
        return Offer(
            location, {sku: places.get(location.id, 0) for sku, places in self.usable.items()}, values
        )


def _without(places: Mapping[int, int], excluded: frozenset[int]) -> dict[int, int]:
    return {id_: units for id_, units in places.items() if id_ not in excluded}


class Ranked(Sequence[Offer]):
    """Locations in the order of a ranking. Their offers are made when they are asked for, one by one."""

    def __init__(
        self, locations: Sequence[LocationToPlan], supply: Supply, values: Mapping[str, Mapping[int, Value]]
    ) -> None:
        self.locations = locations
        self._supply = supply
        self._values = values
        self._offers: dict[int, Offer] = {}

    def __len__(self) -> int:
        return len(self.locations)

    def __getitem__(self, place: int) -> Offer:  # type: ignore[override]
        if place not in self._offers:
            location = self.locations[place]
            values = {name: known[location.id] for name, known in self._values.items()}
            self._offers[place] = self._supply.offer(location, values)
        return self._offers[place]


class Point(NamedTuple):
    """A point of the globe in radians, with the cosine of its latitude."""

    latitude: float
    longitude: float
    cosine: float


class Surroundings(NamedTuple):
    """What rankings compare besides stock: packages and points by location's id, and the order's facts."""

    open_packages: dict[int, int]
    points: Mapping[int, Point]
    facts: Mapping[str, str]


def rank(
    locations: Sequence[LocationToPlan], ranking: Sequence[str], supply: Supply, around: Surroundings
) -> Ranked:
    """The locations, which are sorted by id, the first choice first."""
    names = [criterion.removeprefix("-") for criterion in ranking]
    values = {name: _VALUES[name](locations, supply, around) for name in names}
    criteria: list[_Criterion] = []
    for criterion in ranking:
        name, descending = criterion.removeprefix("-"), criterion.startswith("-")
        criteria.append(_Criterion(partial(values.__getitem__, name), descending))
        if name == "stock_amount":
            # Of those that can serve the order alike, the heap decides.
            criteria.append(_Criterion(lambda: supply.heaps, descending))
    return Ranked(_in_order([*locations], criteria), supply, values)


class _Criterion(NamedTuple):
    """What a criterion compares, which is asked for only where those before it tie."""

    values: Callable[[], Mapping[int, Value]]
    descending: bool


def _in_order(locations: list[LocationToPlan], criteria: Sequence[_Criterion]) -> list[LocationToPlan]:
    """Sorted by the first criterion, and those that tie by the others. What ties in all stays as it is."""
    if not criteria or len(locations) == 1:
        return locations
    (values_of, descending), *others = criteria
    values = values_of()
    ordered = _sorted(locations, values, descending=descending)
    return _tied_in_order(ordered, values, others) if others else ordered


def _tied_in_order(
    ordered: list[LocationToPlan], values: Mapping[int, Value], criteria: Sequence[_Criterion]
) -> list[LocationToPlan]:
    """Sorts each run of locations that have the same value; usually there are few."""
    compared = [values[location.id] for location in ordered]
    tied = [place for place, value in enumerate(compared[1:]) if value == compared[place]]
    start = 0
    while start < len(tied):
        end = start + 1
        while end < len(tied) and tied[end] == tied[end - 1] + 1:
            end += 1
        run = slice(tied[start], tied[end - 1] + 2)
        ordered[run] = _in_order(ordered[run], criteria)
        start = end
    return ordered


def _sorted(
    locations: list[LocationToPlan], values: Mapping[int, Value], *, descending: bool
) -> list[LocationToPlan]:
    unknown = [location for location in locations if values[location.id] is None]
    known = [location for location in locations if values[location.id] is not None] if unknown else locations
    known.sort(key=lambda location: values[location.id], reverse=descending)  # type: ignore[arg-type,return-value]
    return [*known, *unknown]


_Values = Callable[[Sequence[LocationToPlan], Supply, Surroundings], Mapping[int, Value]]


def _distances(locations: Sequence[LocationToPlan], _: Supply, around: Surroundings) -> Mapping[int, Value]:
    here = point(around.facts.get("latitude"), around.facts.get("longitude"))
    points = around.points
    if here is None:
        return dict.fromkeys((location.id for location in locations), None)
    distances: dict[int, Value] = {}
    for location in locations:
        there = points.get(location.id)
        # To a hundred metres, since nearer ones tie.
        distances[location.id] = None if there is None else int(10 * kilometres(here, there) + 0.5) / 10
    return distances


_VALUES: dict[str, _Values] = {
    "priority": lambda locations, *_: {location.id: location.priority for location in locations},
    "stock_amount": lambda _, supply, __: supply.amounts,
    "package_density": lambda _, __, around: around.open_packages,
    "distance": _distances,
}


def points_of(locations: Iterable[LocationToPlan]) -> dict[int, Point]:
    """The points of the locations that have one, by id."""
    known = ((location.id, point(location.latitude, location.longitude)) for location in locations)
    return {id_: there for id_, there in known if there is not None}


def point(latitude: object, longitude: object) -> Point | None:
    """The point that is given in degrees, as numbers or as text; None where one of them is missing."""
    if latitude is None or longitude is None:
        return None
    radian = radians(float(str(latitude)))
    return Point(radian, radians(float(str(longitude))), cos(radian))


def kilometres(one: Point, other: Point) -> float:
    """The great-circle distance by the haversine formula."""
    latitude, longitude, cosine = one
    latitude2, longitude2, cosine2 = other
    across, along = sin((latitude2 - latitude) / 2), sin((longitude2 - longitude) / 2)
    half = across * across + cosine * cosine2 * along * along
    return 2 * EARTH_RADIUS_KM * asin(sqrt(half if half < 1 else 1.0))
