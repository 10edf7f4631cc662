"""What is wrong with a configuration, all of it in one message."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN_CHARACTERS = 80

#: Some programs that set variables take quotes and comments for part of the value.
_QUOTED = re.compile(r"""(['"`]).*\1|“.*”|‘.*’""", re.DOTALL)
_COMMENT = re.compile(r"\s#")


@dataclass(frozen=True)
class Problem:
    """One variable that cannot be used: what it holds, why not, and what would be right."""

    variable: str
    value: str
    problem: str
    example: str

    def __str__(self) -> str:
        shown = f"{self.variable}={self.value}" if self.value else self.variable
        example = f" Example: {self.variable}={self.example}" if self.example else ""
        return f"{shown}: {self.problem}.{example}"


class SettingsError(Exception):
    """The configuration cannot be used; every problem of every variable is named in one message."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 setting cannot be used:" if count == 1 else f"{count} settings cannot be used:"
        super().__init__("\n  ".join([heading, *map(str, self.problems)]))


def shown(value: object) -> str:
    return repr(cut(str(value)))


def cut(text: str) -> str:
    """What a person needs of a text to know it again."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def shown_safely(value: str) -> str:
    """A value that is no secret, unless it is an address, which may hold a password."""
    return "(hidden)" if is_address(value) else shown(value)


def is_address(value: str) -> bool:
    """Whether it may be one; `@daily` is none."""
    return "@" in value.strip()[1:]


def left_in(value: str) -> str | None:
    """What of the file that a value comes from is still in it, said as its problem; None for nothing."""
    text = value.strip()
    if len(text) > 1 and _QUOTED.fullmatch(text):
        return "has quotes around its value; leave them out"
    if _COMMENT.search(text):
        return "has a comment after its value; put it on a line of its own"
    return None
