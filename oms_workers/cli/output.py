"""How commands print: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

#: Wide enough for a table when the output is a pipe and has no width of its own.
_PIPE_WIDTH = 160


def console() -> Console:
    """Standard output, as wide as the terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_PIPE_WIDTH)


def print_json(value: Any) -> None:
    """Print one JSON document, with instants in ISO 8601."""
    print(json.dumps(value, indent=2, default=_encode, ensure_ascii=False))


def print_table(
    columns: Sequence[str], lines: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(*("" if cell is None else str(cell) for cell in line))
    console().print(table)


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago or ahead, for people: `12 s ago`, `in 3 min`."""
    if moment is None:
        return "never"
    distance = abs(now - moment)
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if distance >= 2 * size:
            text = f"{distance // size} {unit}"
            break
    else:
        text = f"{distance.total_seconds():.0f} s"
    return f"in {text}" if moment > now else f"{text} ago"


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{value!r} has no JSON form")
