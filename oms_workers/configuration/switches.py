"""The three variables of each task: on or off, and when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from oms_workers.configuration.cadence import (
    CRONTAB_EXAMPLE,
    INTERVAL_EXAMPLE,
    Cadence,
    Crontab,
    Interval,
    parse_crontab,
    parse_interval,
)
from oms_workers.configuration.operations import OPERATIONS
from oms_workers.configuration.problems import Problem, is_address, left_in, shown_safely

#: Each task has three variables: `KEY` (true or false, default true), `KEY_CRONTAB` (minute,hour,day,month,
#: weekday) and `KEY_SCHEDULE` (seconds). At most one of the last two may be set.
TASK_KEYS = tuple(operation.key for operation in OPERATIONS)
TASK_VARIABLES = tuple(key + suffix for key in TASK_KEYS for suffix in ("", "_CRONTAB", "_SCHEDULE"))

T = TypeVar("T")


@dataclass(frozen=True)
class Switch:
    """What the environment says of one task: on or off, and when, if other than by default."""

    enabled: bool
    cadence: Cadence | None
    source: str


def read_switches(variables: Mapping[str, str], zone: ZoneInfo) -> tuple[dict[str, Switch], list[Problem]]:
    problems: list[Problem] = []
    switches = {key: _read_switch(key, variables, zone, problems) for key in TASK_KEYS}
    return switches, problems


def _read_switch(key: str, variables: Mapping[str, str], zone: ZoneInfo, problems: list[Problem]) -> Switch:
    def read(variable: str, parse: Callable[[str], T], example: str) -> T | None:
        try:
            return parse(variables[variable]) if variable in variables else None
        except ValueError as error:
            value = variables[variable]
            # What the error says may quote a part of the value.
            problem = "is an address" if is_address(value) else left_in(value) or str(error)
            problems.append(Problem(variable, shown_safely(value), problem, example))
            return None

    enabled = read(key, _read_bool, "false")
    seconds = read(f"{key}_SCHEDULE", parse_interval, INTERVAL_EXAMPLE)
    expression = read(f"{key}_CRONTAB", parse_crontab, CRONTAB_EXAMPLE)
    if f"{key}_CRONTAB" in variables and f"{key}_SCHEDULE" in variables:
        problem = f"is set together with {key}_SCHEDULE, and only one of them can be; unset one"
        problems.append(
            Problem(f"{key}_CRONTAB", shown_safely(variables[f"{key}_CRONTAB"]), problem, CRONTAB_EXAMPLE)
        )
    if expression is not None:
        return Switch(enabled is not False, Crontab(expression, zone), f"{key}_CRONTAB")
    if seconds is not None:
        return Switch(enabled is not False, Interval(seconds), f"{key}_SCHEDULE")
    return Switch(enabled is not False, None, "default")


def _read_bool(text: str) -> bool:
    try:
        return TypeAdapter(bool).validate_python(text.strip())
    except ValidationError:
        raise ValueError("is neither true nor false") from None
