"""Which locations a rule may use for an order, and in which order it asks them.

`Sieve` says which, and for the others the first check that they fail, in words.

`rank` compares criteria one after the other, never as a weighted sum: the first that does not tie decides.
Where a location or the order lacks what a criterion compares, the location stands behind those that have it.
The last tie-break is the location's id.
"""

from collections.abc import Callable, Mapping, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Any, NamedTuple

from oms_workers.fulfilment.planning.plans import LocationToPlan, Offer
from oms_workers.fulfilment.planning.scenarios import Filters
from oms_workers.normal_form import normal_form

_SAME = ("country", "state", "district")

EARTH_RADIUS_KM = 6371.0

Value = float | None


class Sieved(NamedTuple):
    """The locations that pass, and the trace of those that do not."""

    passed: list[LocationToPlan]
    refused: list[dict[str, Any]]


class Sieve:
    """Applies filters to all locations, once for the orders that they see alike."""

    def __init__(self, locations: list[LocationToPlan]) -> None:
        self._locations = locations
        self._known: dict[tuple[Filters, tuple[str | None, ...]], Sieved] = {}

    def apply(self, filters: Filters, facts: Mapping[str, str]) -> Sieved:
        """The locations that these filters let through for an order with these facts."""
        address = tuple(facts.get(name) if getattr(filters, f"same_{name}") else None for name in _SAME)
        key = (filters, address)
        if key not in self._known:
            checked = [(location, _refusal(filters, facts, location)) for location in self._locations]
            self._known[key] = Sieved(
                passed=[location for location, reason in checked if reason is None],
                refused=[
                    {"location": location.code, "verdict": reason} for location, reason in checked if reason
                ],
            )
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


def rank(offers: list[Offer], ranking: Sequence[str], facts: Mapping[str, str]) -> list[Offer]:
    """The offers, the first choice first; each gets the values that were compared."""
    if len(ranking) == 0:
        return sorted(offers, key=lambda offer: offer.location.id)
    here = _point(facts.get("latitude"), facts.get("longitude"))
    for offer in offers:
        for criterion in ranking:
            name = criterion.removeprefix("-")
            offer.values[name] = _distance(offer, here) if name == "distance" else _VALUES[name](offer)
    return sorted(offers, key=lambda offer: _key(offer, ranking))


def _key(offer: Offer, ranking: Sequence[str]) -> tuple[float | bool, ...]:
    parts: list[float | bool] = []
    for criterion in ranking:
        name, sign = criterion.removeprefix("-"), -1 if criterion.startswith("-") else 1
        value = offer.values[name]
        parts.append(value is None)
        parts.append(0 if value is None else sign * value)
        if name == "stock_amount":
            # Of those that can serve the order alike, the heap decides.
            parts.append(sign * offer.heap)
    return (*parts, offer.location.id)


_VALUES: dict[str, Callable[[Offer], Value]] = {
    "priority": lambda offer: offer.location.priority,
    "stock_amount": lambda offer: offer.amount,
    "package_density": lambda offer: offer.open_packages,
}


def _distance(offer: Offer, here: tuple[float, float] | None) -> Value:
    there = _point(offer.location.latitude, offer.location.longitude)
    return None if here is None or there is None else round(kilometres(here, there), 1)


def _point(latitude: object, longitude: object) -> tuple[float, float] | None:
    if latitude is None or longitude is None:
        return None
    return float(str(latitude)), float(str(longitude))


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The great-circle distance of two points given in degrees, by the haversine formula."""
    (latitude, longitude), (latitude2, longitude2) = (map(radians, point) for point in (one, other))
    half = (
        sin((latitude2 - latitude) / 2) ** 2
        + cos(latitude) * cos(latitude2) * sin((longitude2 - longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(half)))
