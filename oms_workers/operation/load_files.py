"""The files of `oms load`, checked whole before anything is written."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from peewee import Select, fn
from pydantic import BaseModel, ConfigDict, ValidationError

from oms_workers.configuration.problems import cut, shown
from oms_workers.database import connection, database, database_now, retry_transient, transaction
from oms_workers.errors import ArgumentError
from oms_workers.fulfilment.planning.scenarios import ScenarioSpec
from oms_workers.fulfilment.scenarios import load_scenarios, refuse_strangers
from oms_workers.merchant_values import LoadError, MisfitError, Moment
from oms_workers.packages.counting import count_stock
from oms_workers.packages.shortfalls import relieve_shortfalls
from oms_workers.reservations.loading import (
    Complete,
    LocationSpec,
    StockSpec,
    load_locations,
    refuse_empty_counts,
)
from oms_workers.sets import column

logger = logging.getLogger(__name__)

#: As in `oms load -`.
STANDARD_INPUT = Path("-")

#: The class of the lock by which one load at a time is written ("omsl"), and its only key.
_LOCK = (0x6F6D736C, 0)

_MAX_PROBLEMS = 10

T = TypeVar("T")


class MerchantFile(BaseModel):
    """One file: any of these lists. `counted_at` is when its stock was counted, where a row does not say."""

    model_config = ConfigDict(extra="forbid")

    counted_at: Moment | None = None
    locations: list[LocationSpec] = []
    stock: list[StockSpec] = []
    scenarios: list[ScenarioSpec] = []


class _File(NamedTuple):
    """A file as it was read: its name, its JSON, and what that means."""

    name: str
    raw: Any
    content: MerchantFile


def load_files(files: Sequence[Path]) -> dict[str, int]:
    """Add or change what the files name, in one transaction.

    Returns how much there was of each kind, and how many packages are planned again because their stock is
    not there.

    Raises `LoadError`, which names each file, the place in it, the sku or code, the value and what is wrong,
    and `ArgumentError` for a file that is named twice.
    """
    read = _read_all(files)
    _warn_of_undated(read)
    with connection():
        counts = retry_transient(lambda: _write(read))
        # In transactions of their own: orders and packages are locked before stock, never after it. Should
        # this process end here, `fulfil_replaning_orders` does the same.
        given_way = relieve_shortfalls(actor="oms load", at=database_now())
        return {**counts, "packages short of stock": given_way}


def _write(files: Sequence[_File]) -> dict[str, int]:
    with transaction():
        # One load at a time: rows that are new to two of them could not be locked.
        column(Select([], [fn.pg_advisory_xact_lock(*_LOCK)]).bind(database))
        at = database_now()
        stock = [spec for file in files for spec in file.content.stock]
        complete = [
            Complete(spec.code, file.content.counted_at)
            for file in files
            for spec in file.content.locations
            if spec.complete
        ]
        counts = {
            "locations": _load(files, "locations", load_locations),
            "stock levels": _load(files, "stock", lambda specs: count_stock(specs, at=at, complete=complete)),
            "scenarios": _load(files, "scenarios", load_scenarios),
        }
        _refuse_future(files, at)
        _load(files, "locations", lambda specs: refuse_empty_counts(specs, stock))
        _load(files, "scenarios", refuse_strangers)
        return counts


def _refuse_future(files: Sequence[_File], at: datetime) -> None:
    """A file's own time is that of what a complete list leaves out, even where each row has another."""
    problem = f"lies in the future, and it is {at.isoformat()}; set the clock of whoever counts"
    late = [file for file in files if file.content.counted_at and file.content.counted_at > at]
    if late:
        said = [(file, str(file.content.counted_at)) for file in late]
        raise _refusal([_line(file.name, file.raw, ["counted_at"], value, problem) for file, value in said])


def _load(files: Sequence[_File], kind: str, load: Callable[[list[Any]], T]) -> T:
    """Load one list of all files together; what is refused of it is said with its place."""
    places = [(file, row) for file in files for row in range(len(getattr(file.content, kind)))]
    try:
        return load([spec for file in files for spec in getattr(file.content, kind)])
    except MisfitError as error:
        problems = []
        for misfit in error.misfits:
            file, row = places[misfit.row]
            path = (kind, row, *(int(part) if part.isdigit() else part for part in misfit.path.split(".")))
            problems.append(_line(file.name, file.raw, path, misfit.value, misfit.problem))
        raise _refusal(problems) from None


def _read_all(files: Sequence[Path]) -> list[_File]:
    if len({*files}) < len(files):
        raise ArgumentError("A file is named twice; name each once.")
    read: list[_File] = []
    problems: list[str] = []
    for path in files:
        name = "standard input" if path == STANDARD_INPUT else str(path)
        try:
            raw = _parse(path)
            read.append(_File(name, raw, _dated(MerchantFile.model_validate(raw))))
        except ValidationError as error:
            problems += _problems_of(name, raw, error)
        except OSError as error:
            problems.append(f"{name}: cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            problems.append(f"{name}: is not UTF-8: byte {error.start} cannot be read")
        except json.JSONDecodeError as error:
            problems.append(f"{name}: is no JSON: line {error.lineno}, column {error.colno}: {error.msg}")
        except (ValueError, RecursionError) as error:
            nested = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
            problems.append(f"{name}: {nested}")
    if problems:
        raise _refusal(problems)
    return read


def _dated(content: MerchantFile) -> MerchantFile:
    """The file's time for each count that has none of its own."""
    stock = [
        spec.model_copy(update={"counted_at": spec.counted_at or content.counted_at})
        if spec.is_count
        else spec
        for spec in content.stock
    ]
    return content.model_copy(update={"stock": stock})


def _warn_of_undated(files: Sequence[_File]) -> None:
    for file in files:
        undated = sum(spec.is_count and spec.counted_at is None for spec in file.content.stock)
        if undated:
            logger.warning(
                "%s: %s counts without counted_at are taken as made just now. Give the file, or each row, the"
                " time when it was counted; what was packed since is then not counted again.",
                file.name,
                undated,
            )


def _parse(path: Path) -> Any:
    content = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    text = content.decode("utf-8-sig")
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_bounded)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(double)} stands twice in one object, {shown(_who(found) or found)}")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number that JSON has")


def _bounded(digits: str) -> int | float:
    """Python refuses to read thousands of digits; no number here has as many as these."""
    return int(digits) if len(digits) < 100 else float("inf")


def _problems_of(name: str, raw: Any, error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False):
        missing = detail["type"] == "missing"
        said = {"missing": "is missing", "extra_forbidden": "is not known; is the name misspelt?"}
        problem = said.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
        value = "" if missing else _value(detail["input"])
        yield _line(name, raw, detail["loc"], value, problem[:1].lower() + problem[1:])


def _value(given: Any) -> str:
    """A value as it stands in the file; a long one is cut."""
    return shown(given) if isinstance(given, str) else cut(json.dumps(given))


def _line(name: str, raw: Any, path: Sequence[int | str], value: str, problem: str) -> str:
    """One problem: the file, the place in it, whose it is, the value, and what is wrong."""
    place = ".".join(map(str, path)) or "the whole"
    owners = [_who(each) for each in _along(raw, path)]
    whose = "".join(f" of {owner}" for owner in reversed(owners) if owner)
    stands = f" is {value}" if value else ""
    return f"{name}: {place}{whose}{stands}: {problem}"


def _along(raw: Any, path: Sequence[int | str]) -> Iterator[Any]:
    """What stands at each step of a path."""
    for step in path:
        try:
            raw = raw[step]
        except (LookupError, TypeError):
            return
        yield raw


def _who(found: Any) -> str:
    """By what a person knows an object of a file."""
    if not isinstance(found, dict):
        return ""
    if "sku" in found:
        return f"sku {shown(found['sku'])} at {shown(found.get('location'))}"
    name = next((key for key in ("code", "name") if key in found), None)
    return f"{name} {shown(found[name])}" if name else ""


def _refusal(problems: Sequence[str]) -> LoadError:
    lines = ["Nothing was loaded:", *problems[:_MAX_PROBLEMS]]
    more = len(problems) - _MAX_PROBLEMS
    if more > 0:
        lines.append(f"and {more} more")
    return LoadError("\n  ".join(lines))
