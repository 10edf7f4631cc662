"""The numbered scripts of this folder: how they are named, and which come before or after the new code.

0007_before_order_notes.py      applied while the previous release still runs
0008_after_drop_order_memo.py   applied when no process of the previous release is alive
"""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oms_workers.errors import OmsError

#: Older than the two forms. They count as before, and the history of every database has these names.
FIRST = ("0001_scheduling", "0002_orders", "0003_fulfilment", "0004_replanning")

_NAME = re.compile(r"\d{4}_(before|after)_[a-z][a-z0-9_]*")

#: What else lies in this folder are modules; none of their names begins like this.
_MEANT_AS_SCRIPT = re.compile(r"\d|before|after")


class ScriptError(OmsError):
    """A script that would be applied at the wrong time, twice, or never."""


class Phase(StrEnum):
    """Whether a script is applied before the new code runs, or after the old code has ended."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, order=True)
class Script:
    """One file; scripts sort by their numbers."""

    name: str
    phase: Phase

    @property
    def number(self) -> str:
        return self.name[:4]


def find(directory: Path) -> list[Script]:
    """The folder's scripts in numeric order.

    Raises `ScriptError` for a file whose name has neither form, and for two with one number.
    """
    names = sorted(path.stem for path in directory.glob("*.py") if _MEANT_AS_SCRIPT.match(path.stem))
    found = [_read(name) for name in names]
    refuse_shared_numbers(names)
    return found


def refuse_shared_numbers(names: Collection[str], *, applied: Collection[str] = ()) -> None:
    """Raise `ScriptError` when one of `names` shares its number; their order would be an accident."""
    by_number = defaultdict(set)
    for name in (*names, *applied):
        by_number[name[:4]].add(name)
    free = max((int(number) for number in by_number if number.isdigit()), default=0) + 1
    for number in sorted({name[:4] for name in names}):
        if len(by_number[number]) > 1:
            raise ScriptError(
                f"These migration scripts have one number, {number}: {', '.join(sorted(by_number[number]))}. "
                f"Give the one that no database has applied the next free number, {free:04}."
            )


def _read(name: str) -> Script:
    if name in FIRST:
        return Script(name, Phase.BEFORE)
    form = _NAME.fullmatch(name)
    if form is None:
        raise ScriptError(
            f"The migration script {name}.py is named neither 0000_before_what.py nor 0000_after_what.py "
            "(four digits, small letters). Rename it; docs/migrations.md says which of the two it is."
        )
    return Script(name, Phase(form[1]))
