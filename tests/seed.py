"""The operators' document, read: what it says of each task, letter for letter."""

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

DOCUMENT = Path(__file__).with_name("scheduled-operations.txt")

#: A task's configuration, from its name to the brace that stands alone.
_BLOCK = re.compile(r"""^['"](?P<name>[\w-]+)['"]: \{\n(?P<body>.*?)^\}$""", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"""^'(?P<key>\w+)': (?P<value>.*?),?$""", re.MULTILINE)
_EXAMPLE = re.compile(r"^(?P<variable>[A-Z][A-Z_]+)=(?P<value>\S+)$", re.MULTILINE)


class Operation(NamedTuple):
    """A task's default, as an interval's product of seconds or a crontab, and the document's examples.

    `variables` are the three that the document names for it, and `disabled` the example that switches it off.
    """

    name: str
    env_key: str
    task: str
    default: str
    schedule_example: str
    crontab_example: str
    variables: tuple[str, str, str]
    disabled: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def read(text: str) -> list[Operation]:
    """The tasks of the document, in its order."""
    examples = {found["variable"]: found["value"] for found in _EXAMPLE.finditer(text)}
    return [_operation(found["name"], found["body"], examples) for found in _BLOCK.finditer(text)]


def _operation(name: str, body: str, examples: dict[str, str]) -> Operation:
    said = {found["key"]: found["value"].strip("'\"") for found in _LINE.finditer(body)}
    variables = (said["env_key"], said["schedule_env_key"], said["crontab_env_key"])
    disabled, schedule, crontab = (examples[variable] for variable in variables)
    return Operation(
        name,
        said["env_key"],
        said["task"],
        said.get("schedule") or said["crontab"],
        schedule,
        crontab,
        variables,
        disabled,
        ast.literal_eval(said.get("args", "()")),
        ast.literal_eval(said.get("kwargs", "{}")),
    )


OPERATIONS = read(DOCUMENT.read_text(encoding="utf-8"))
