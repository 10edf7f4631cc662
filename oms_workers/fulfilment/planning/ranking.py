"""The order in which a rule asks locations: criteria compared one after the other, never a weighted sum.

The first criterion that does not tie decides. Where a location or the order lacks what a criterion compares,
it says nothing for that location, which stands behind those for which it speaks; at last the id decides.
"""

from collections.abc import Callable, Mapping, Sequence
from math import asin, cos, radians, sin, sqrt

from oms_workers.fulfilment.planning.plans import Offer

EARTH_RADIUS_KM = 6371.0

Value = float | None


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
        value = offer.values[criterion.removeprefix("-")]
        parts.append(value is None)
        parts.append(0 if value is None else -value if criterion.startswith("-") else value)
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
