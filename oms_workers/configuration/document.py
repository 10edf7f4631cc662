"""The page that lists every variable, and the example file: both are made from the settings' own fields.

Groups are the comments of the settings' class, and a unit is told by the end of a variable's name.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import dedent
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from oms_workers.configuration.operations import OPERATIONS, Documented

#: The unit of a number, by the end of its variable's name.
_UNITS = {
    "_seconds": "seconds",
    "_min_age": "seconds",
    "_max_connections": "connections",
    "_concurrency": "calls",
    "_page_size": "orders",
    "_max_attempts": "attempts",
    "_max_rows": "rows",
    "_days": "days",
}

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

_GROUP = re.compile(r" {4}# (?P<group>[A-Z][\w ]*)")
_FIELD = re.compile(r" {4}(?P<field>\w+): ")

_INTRODUCTION = """\
# Configuration

`make docs` writes this page from `settings.py`. Do not edit it.

Set these variables in the environment, or in a file `.env` in the working directory. The environment wins.
An empty value means unset. A wrong value ends every program with status 2. The message names each variable
that is wrong, its value, the problem and an example. Secrets are never shown.

A number of seconds may be a product, such as `60*60`. Write values without quotes, and comments on lines of
their own, where the platform takes both for part of the value. `oms check` warns of a variable that is not
known and likely misspelt, and of Celery's names, which have no effect here.

The clock, the workers and most commands need `DATABASE_URL` and `REDIS_URL`. The task
`get-omnitron-orders-cron` needs `OMNITRON_URL`. It also needs `OMNITRON_TOKEN`, or both `OMNITRON_USERNAME`
and `OMNITRON_PASSWORD`.

`oms check` validates all of them. `.env.example` lists them in a form that you can copy.
"""

_TASKS = """\
## Tasks

Each task has three variables:

- `KEY`: `true` or `false`. The default is `true`. `false` disables the task.
- `KEY_SCHEDULE`: the task runs every so many seconds. Write whole seconds, or a product such as `60*5`.
  The least is 1 s and the most is 7 days (`604800`).
- `KEY_CRONTAB`: the task runs at fixed times in `TIME_ZONE`. Write `minute,hour,day,month,weekday`, such as
  `0,3,*,*,*`. You can also write cron's own form, in which lists work: `0,30 3 * * 1-5`.

Set `KEY_SCHEDULE` or `KEY_CRONTAB`, not both. Where neither is set, the task has the default of this table.
An interval counts from the Unix epoch, so a restart does not move it.

The README lists the tasks that run in this release. The variables of the other tasks are checked, and have no
effect yet.
"""

_EXAMPLE_INTRODUCTION = """\
# Copy this file to .env, or set these variables where the platform has its own.
# Each line shows the default. Where there is none, it shows an example.
# `make docs` writes this file from settings.py.
"""

_EXAMPLE_TASKS = """\
# --- Tasks
# Each task has three variables: on or off, an interval in seconds, and a crontab in TIME_ZONE.
# A crontab is minute,hour,day,month,weekday. Set an interval or a crontab, not both.
# The values below are examples; docs/configuration.md has the defaults.
"""


def configuration_page(model: type[BaseSettings]) -> str:
    """The text of `docs/configuration.md`. Raises `ValueError` for a number whose unit is not known."""
    groups = [_group(name, fields) for name, fields in groups_of(model).items()]
    return "\n".join([_INTRODUCTION, *groups, _TASKS, _table(_TASK_COLUMNS, _task_lines())])


def example_file(model: type[BaseSettings]) -> str:
    """The text of `.env.example`."""
    groups = [_example_group(name, fields) for name, fields in groups_of(model).items()]
    tasks = _EXAMPLE_TASKS + "".join(f"# {line}\n" for each in OPERATIONS for line in _assignments(each))
    return "\n".join([_EXAMPLE_INTRODUCTION, *groups, tasks])


def groups_of(model: type[BaseSettings]) -> dict[str, dict[str, FieldInfo]]:
    """The model's fields in their groups, by the comment that stands before each group in its source."""
    groups: dict[str, dict[str, FieldInfo]] = {}
    group = ""
    for line in dedent(inspect.getsource(model)).splitlines():
        if heading := _GROUP.fullmatch(line):
            group = heading["group"]
        elif (found := _FIELD.match(line)) and found["field"] in model.model_fields:
            groups.setdefault(group, {})[found["field"]] = model.model_fields[found["field"]]
    return groups


_COLUMNS = ("variable", "default", "unit", "allowed", "example", "meaning")
_TASK_COLUMNS = ("variable", "default", "example", "of the task")


def _group(name: str, fields: dict[str, FieldInfo]) -> str:
    lines = [
        (
            f"`{field.upper()}`",
            _code(_default(info)),
            _unit(field, info),
            _allowed(info),
            _code(_example(info)),
            info.description or "",
        )
        for field, info in fields.items()
    ]
    return f"## {name}\n\n{_table(_COLUMNS, lines)}"


def _task_lines() -> Iterator[Sequence[str]]:
    for each in OPERATIONS:
        examples = {each.key: "false", f"{each.key}_SCHEDULE": each.schedule}
        for variable, example in {**examples, f"{each.key}_CRONTAB": each.crontab}.items():
            default = {each.key: "true", each.default_variable: each.default}.get(variable, "")
            yield f"`{variable}`", _code(default), _code(example), f"`{each.name}`"


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(_cell(cell) for cell in row)} |\n" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else "none"


def _example_group(name: str, fields: dict[str, FieldInfo]) -> str:
    lines = [f"# --- {name}\n"]
    for field, info in fields.items():
        lines.append(f"# {info.description}\n# {field.upper()}={_default(info) or _example(info)}\n")
    return "".join(lines)


def _assignments(each: Documented) -> Iterator[str]:
    yield f"{each.key}=true"
    yield f"{each.key}_SCHEDULE={each.schedule}"
    yield f"{each.key}_CRONTAB={each.crontab}"


def _default(info: FieldInfo) -> str:
    return "" if info.default is None else _written(info.default)


def _example(info: FieldInfo) -> str:
    return _written(info.examples[0]) if info.examples else ""


def _written(value: Any) -> str:
    """A value as it stands in the environment."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unit(field: str, info: FieldInfo) -> str:
    if info.annotation not in (int, float):
        return ""
    for ending, unit in _UNITS.items():
        if field.endswith(ending):
            return unit
    raise ValueError(f"The unit of {field.upper()} is not known; add the end of its name to `_UNITS`.")


def _allowed(info: FieldInfo) -> str:
    if info.annotation is bool:
        return "true or false"
    bounds = [
        f"{words} {getattr(each, name)}"
        for each in info.metadata
        for name, words in _BOUNDS.items()
        if hasattr(each, name)
    ]
    return ", ".join(bounds)
