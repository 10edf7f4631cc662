"""The files of `oms load`, checked whole before anything is written."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from oms_workers.database import connection, database_now, retry_transient, transaction
from oms_workers.fulfilment.planning.scenarios import ScenarioSpec
from oms_workers.fulfilment.scenarios import load_scenarios
from oms_workers.packages.shortfalls import relieve_shortfalls
from oms_workers.reservations.loading import LoadError, LocationSpec, StockSpec, load_locations, load_stock
from oms_workers.reservations.models import Location
from oms_workers.sets import column

_MAX_PROBLEMS = 10


class MerchantFile(BaseModel):
    """One file: any of these lists."""

    model_config = ConfigDict(extra="forbid")

    locations: list[LocationSpec] = []
    stock: list[StockSpec] = []
    scenarios: list[ScenarioSpec] = []


def load_files(files: Sequence[Path]) -> dict[str, int]:
    """Add or change what the files name, in one transaction.

    Returns how much there was of each kind, and how many packages are planned again because their stock is
    not there.

    Raises `LoadError`, which names the file, the place in it and what is wrong.
    """
    contents = [_read(file) for file in files]
    with connection():
        counts = retry_transient(lambda: _write(contents))
        # In transactions of their own: orders and packages are locked before stock, never after it. Should
        # this process end here, `fulfil_replaning_orders` does the same.
        given_way = relieve_shortfalls(actor="oms load", at=database_now())
        return {**counts, "packages short of stock": given_way}


def _write(contents: Sequence[MerchantFile]) -> dict[str, int]:
    with transaction():
        at = database_now()
        scenarios = [spec for content in contents for spec in content.scenarios]
        counts = {
            "locations": load_locations([spec for content in contents for spec in content.locations]),
            "stock levels": load_stock([spec for content in contents for spec in content.stock], at=at),
            "scenarios": load_scenarios(scenarios),
        }
        _check_locations(scenarios)
        return counts


def _check_locations(scenarios: Sequence[ScenarioSpec]) -> None:
    """A rule that names a location which does not exist would in silence never use it."""
    known = {*column(Location.select(Location.code))}
    for scenario in scenarios:
        for rule in scenario.rules:
            for filters in (rule.filters, rule.transfer_from):
                unknown = sorted(((filters.locations or frozenset()) | filters.except_locations) - known)
                if unknown:
                    raise LoadError(
                        f"The rule {rule.name!r} of the scenario {scenario.name!r} names the location"
                        f" {unknown[0]!r}, which is not known; load it first, or mend the name."
                    )


def _read(file: Path) -> MerchantFile:
    try:
        return MerchantFile.model_validate_json(file.read_bytes())
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        problems = [
            f"{'.'.join(map(str, detail['loc'])) or file.name}: {detail['msg'].removeprefix('Value error, ')}"
            for detail in details[:_MAX_PROBLEMS]
        ]
        raise LoadError("\n  ".join([f"{file} cannot be loaded:", *problems])) from None
