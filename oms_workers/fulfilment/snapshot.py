"""What the planner is given: the merchant's scenarios, locations and stock, as they are at one moment."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from oms_workers.database import rows
from oms_workers.errors import OmsError
from oms_workers.fulfilment.loading import active_scenarios
from oms_workers.fulfilment.planning.eligibility import Sieve, Sieved
from oms_workers.fulfilment.planning.planner import Planner
from oms_workers.fulfilment.planning.plans import Location
from oms_workers.fulfilment.planning.scenarios import Filters, Scenario
from oms_workers.reservations.stock import available


class NoDefaultLocationError(OmsError):
    """Lines that no rule places have nowhere to wait."""

    def __init__(self) -> None:
        super().__init__(
            "No location is marked is_default, and lines that no rule places need one; "
            "mark one in a file for `oms load`."
        )


class Snapshot(NamedTuple):
    """A planner for this moment, and what its plans need to be committed."""

    planner: Planner
    default_location_id: int
    limited: frozenset[int]


def take_snapshot(skus: Iterable[str]) -> Snapshot:
    """Read everything that is needed to plan lines of these skus. Raises `NoDefaultLocationError`."""
    scenarios = active_scenarios()
    found = _read_locations()
    default = next((location.id for location in found if location.is_default), None)
    if default is None:
        raise NoDefaultLocationError
    limited = frozenset(location.id for location in found if location.quota is not None)
    counts = open_packages(None if _rank_by_density(scenarios) else limited)
    locations = [_location(location, counts) for location in found]
    return Snapshot(Planner(scenarios, locations, available(skus)), default, limited)


def sieve_locations(filters: Filters, facts: Mapping[str, str]) -> Sieved:
    """The locations that these filters let through for an order with these facts, and why not the others."""
    counts = open_packages(None)
    return Sieve([_location(location, counts) for location in _read_locations()]).apply(filters, facts)


def _read_locations() -> list[Any]:
    return rows(
        """
        SELECT id, code, type, active, priority, country, state, district, latitude, longitude, quota,
               is_default
        FROM locations
        ORDER BY id
        """
    )


def _location(found: Any, open_packages: Mapping[int, int]) -> Location:
    columns = found._asdict()
    del columns["is_default"]
    return Location(**columns, open_packages=open_packages.get(found.id, 0))


def open_packages(location_ids: Iterable[int] | None) -> dict[int, int]:
    """How many packages these locations, or all, still have to pack; they count against the quota."""
    wanted = None if location_ids is None else sorted(location_ids)
    if wanted == []:
        return {}
    # The index packages_open holds only what is counted.
    found: list[Any] = rows(
        """
        SELECT location_id, count(*)
        FROM packages
        WHERE (state < 400 OR state = 1010)
          AND (%(wanted)s::bigint[] IS NULL OR location_id = ANY(%(wanted)s))
        GROUP BY location_id
        """,
        {"wanted": wanted},
    )
    return dict(found)


def _rank_by_density(scenarios: Sequence[Scenario]) -> bool:
    return any(
        criterion.removeprefix("-") == "package_density"
        for scenario in scenarios
        for rule in scenario.rules
        for criterion in rule.ranking
    )
