"""A merchant's files: what `oms load` reads, checked whole before anything is written."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from oms_workers.database import connection, database_now, retry_transient, rows, transaction
from oms_workers.fulfilment.commands.registry import circumstances_of
from oms_workers.fulfilment.loading import load_scenarios
from oms_workers.fulfilment.planning.scenarios import Scenario
from oms_workers.fulfilment.shortfalls import relieve_shortfalls
from oms_workers.reservations.loading import LoadError, LocationSpec, StockSpec, load_locations, load_stock

_MAX_PROBLEMS = 10


class Merchant(BaseModel):
    """One file: any of these lists."""

    model_config = ConfigDict(extra="forbid")

    locations: list[LocationSpec] = []
    stock: list[StockSpec] = []
    scenarios: list[Scenario] = []


def load_files(files: Sequence[Path]) -> dict[str, int]:
    """Add or change what the files name, in one transaction; return how much there was of each, and how
    many packages are planned again because stock that they had is not there.

    Raises `LoadError`, which names the file, the place in it and what is wrong.
    """
    merchants = [_read(file) for file in files]
    with connection():
        counts = retry_transient(lambda: _write(merchants))
        # In transactions of their own: orders and packages are locked before stock, never after it. Task 3
        # does the same, should this process end here.
        circumstances = circumstances_of("oms load", database_now())
        return {**counts, "packages short of stock": relieve_shortfalls(circumstances)}


def _write(merchants: Sequence[Merchant]) -> dict[str, int]:
    with transaction():
        at = database_now()
        scenarios = [spec for merchant in merchants for spec in merchant.scenarios]
        counts = {
            "locations": load_locations([spec for merchant in merchants for spec in merchant.locations]),
            "stock levels": load_stock([spec for merchant in merchants for spec in merchant.stock], at=at),
            "scenarios": load_scenarios(scenarios),
        }
        _check_locations(scenarios)
        return counts


def _check_locations(scenarios: Sequence[Scenario]) -> None:
    """A rule that names a location which does not exist would in silence never use it."""
    known = {location.code for location in rows("SELECT code FROM locations")}
    for scenario in scenarios:
        for rule in scenario.rules:
            for filters in (rule.filters, rule.transfer_from):
                unknown = sorted(((filters.locations or frozenset()) | filters.except_locations) - known)
                if unknown:
                    raise LoadError(
                        f"The rule {rule.name!r} of the scenario {scenario.name!r} names the location"
                        f" {unknown[0]!r}, which is not known; load it first, or mend the name."
                    )


def _read(file: Path) -> Merchant:
    try:
        return Merchant.model_validate_json(file.read_bytes())
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        problems = [
            f"{'.'.join(map(str, detail['loc'])) or file.name}: {detail['msg'].removeprefix('Value error, ')}"
            for detail in details[:_MAX_PROBLEMS]
        ]
        raise LoadError("\n  ".join([f"{file} cannot be loaded:", *problems])) from None
