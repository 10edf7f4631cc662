"""What the planner is given: the merchant's scenarios, locations and stock, as they are at one moment."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from peewee import fn

from oms_workers.errors import OmsError
from oms_workers.fulfilment.planning.locations import Sieve
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import LocationToPlan
from oms_workers.fulfilment.planning.scenarios import ScenarioSpec
from oms_workers.fulfilment.scenarios import active_scenarios
from oms_workers.packages.models import TO_PACK, Package
from oms_workers.reservations.models import Location
from oms_workers.reservations.stock import available
from oms_workers.sets import among, columns_of, exists, fetch, one_of


class NoDefaultLocationError(OmsError):
    """Lines that no rule places have nowhere to wait."""

    def __init__(self) -> None:
        super().__init__(
            "No location is marked is_default, and lines that no rule places need one; "
            "mark one in a file for `oms load`."
        )


class PlannerInput(NamedTuple):
    """A planner for this moment, and what its plans need to be committed.

    `limited` are the locations that have a quota.
    """

    planner: Planner
    default_location_id: int
    limited: frozenset[int]


class _LocationRow(NamedTuple):
    id: int
    code: str
    type: str
    active: bool
    priority: int
    country: str | None
    state: str | None
    district: str | None
    latitude: float | None
    longitude: float | None
    quota: int | None
    is_default: bool

    def to_plan(self, open_packages: Mapping[int, int]) -> LocationToPlan:
        """The location with the packages that it still has to pack."""
        return LocationToPlan(*self[:-1], open_packages=open_packages.get(self.id, 0))


class _Count(NamedTuple):
    location_id: int
    packages: int


def read_planner_input(skus: Iterable[str]) -> PlannerInput:
    """Read everything that is needed to plan lines of these skus. Raises `NoDefaultLocationError`."""
    scenarios = active_scenarios()
    found = _read_locations()
    default = next((location.id for location in found if location.is_default), None)
    if default is None:
        raise NoDefaultLocationError
    limited = frozenset(location.id for location in found if location.quota is not None)
    counts = open_packages(None if _rank_by_density(scenarios) else limited)
    locations = [location.to_plan(counts) for location in found]
    return PlannerInput(Planner(scenarios, locations, available(skus)), default, limited)


def count_locations() -> int:
    """How many locations there are, also those that are not active."""
    return int(Location.select().count())


def has_default_location() -> bool:
    """Whether anything can be planned."""
    return exists(Location.select(Location.id).where(Location.is_default))


class PlannedLocations(NamedTuple):
    """All locations at one moment: to be filtered, by id, and the packages that each still has to pack."""

    sieve: Sieve
    by_id: Mapping[int, LocationToPlan]
    open_packages: dict[int, int]


def read_planned_locations() -> PlannedLocations:
    """Read the locations without any stock."""
    counts = open_packages(None)
    locations = [location.to_plan(counts) for location in _read_locations()]
    by_id = {location.id: location for location in locations}
    return PlannedLocations(Sieve(locations), by_id, {id_: counts.get(id_, 0) for id_ in by_id})


def _read_locations() -> list[_LocationRow]:
    return fetch(Location.select(*columns_of(Location, _LocationRow)).order_by(Location.id), _LocationRow)


def _rank_by_density(scenarios: Sequence[ScenarioSpec]) -> bool:
    return any(
        criterion.removeprefix("-") == "package_density"
        for scenario in scenarios
        for rule in scenario.rules
        for criterion in rule.ranking
    )


def open_packages(location_ids: Iterable[int] | None) -> dict[int, int]:
    """How many packages these locations, or all, still have to pack; they count against the quota."""
    query = Package.select(Package.location, fn.COUNT(Package.id).alias("packages"))
    query = query.where(among(Package.state, TO_PACK))
    if location_ids is not None:
        wanted = sorted(location_ids)
        if not wanted:
            return {}
        query = query.where(one_of(Package.location, wanted))
    return dict(fetch(query.group_by(Package.location), _Count))
