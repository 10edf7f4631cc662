"""Which locations a rule may use for an order, and the first check that the others fail, in words."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from oms_workers.fulfilment.planning.plans import LocationToPlan
from oms_workers.fulfilment.planning.scenarios import Filters

_SAME = ("country", "state", "district")


class Sieved(NamedTuple):
    """The locations that pass, and the trace of those that do not."""

    passed: list[LocationToPlan]
    refused: list[dict[str, Any]]


class Sieve:
    """Applies filters to all locations, once for the orders that they see alike."""

    def __init__(self, locations: list[LocationToPlan]) -> None:
        self._locations = locations
        self._known: dict[tuple[int, tuple[str | None, ...]], Sieved] = {}
        # A filter that is compared by its identity must not make room for another one.
        self._filters: list[Filters] = []

    def apply(self, filters: Filters, facts: Mapping[str, str]) -> Sieved:
        """The locations that these filters let through for an order with these facts."""
        address = tuple(facts.get(name) if getattr(filters, f"same_{name}") else None for name in _SAME)
        key = (id(filters), address)
        if key not in self._known:
            self._filters.append(filters)
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
    return bool(one and other) and str(one).casefold() == str(other).casefold()
