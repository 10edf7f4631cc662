"""How commands print: tables for people, JSON for programs."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

#: Wide enough for a table when the output is a pipe and has no width of its own.
_PIPE_WIDTH = 160

#: The least width in which a long text may be broken into lines.
_PROSE_WIDTH = 24


def console() -> Console:
    """Standard output, as wide as the terminal, or as COLUMNS says."""
    plain = Console()
    return plain if plain.is_terminal or "COLUMNS" in os.environ else Console(width=_PIPE_WIDTH)


def print_json(value: Any) -> None:
    """Print one JSON document, with instants in ISO 8601."""
    print(json.dumps(value, indent=2, default=_encode, ensure_ascii=False))


def print_table(
    columns: Sequence[str], lines: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    """Print a table. Where the terminal is too narrow for one, each line becomes a paragraph: nothing is cut
    off, however narrow it is."""
    terminal = console()
    cells = [["" if cell is None else str(cell) for cell in line] for line in lines]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    wraps = [_is_prose(column) for column in zip(*cells, strict=True)] or [False] * len(columns)
    needed = [
        min(width, _PROSE_WIDTH) if is_prose else width for width, is_prose in zip(widths, wraps, strict=True)
    ]
    if sum(needed) + len(columns) - 1 > terminal.width:
        _print_paragraphs(terminal, columns, cells, title)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column, is_prose in zip(columns, wraps, strict=True):
        table.add_column(column, no_wrap=not is_prose, overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    terminal.print(table)


def megabytes(size: int) -> str:
    """Bytes in the unit in which tables of ours are counted."""
    return f"{size / 1024**2:,.1f} MB"


def in_words(result: Mapping[str, Any] | None) -> str:
    """The counts of a run's result; what is listed in it is left out."""
    counts = ((key, value) for key, value in (result or {}).items() if not isinstance(value, list))
    return ", ".join(f"{key} {value}" for key, value in counts)


def listed_in(result: Mapping[str, Any] | None) -> list[list[dict[str, Any]]]:
    """The lists in a run's result that are not empty, each with the same keys in every line."""
    lists = [value for value in (result or {}).values() if isinstance(value, list) and value]
    return [_even(lines) for lines in lists]


def _even(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    keys = list(dict.fromkeys(key for line in lines for key in line))
    return [{key: line.get(key) for key in keys} for line in lines]


def _is_prose(cells: Sequence[str]) -> bool:
    """Whether a column has long texts, which may be broken between words; names and times may not."""
    return any(" " in cell and len(cell) > _PROSE_WIDTH for cell in cells)


def _print_paragraphs(
    terminal: Console, columns: Sequence[str], lines: Sequence[Sequence[str]], title: str | None
) -> None:
    """The first cell of each line, and below it the others that are not empty, with their columns' names."""
    if title is not None:
        terminal.print(title, style="italic", markup=False)
    for first, *others in lines:
        terminal.print(first, style="bold", markup=False, highlight=False)
        named = zip(columns[1:], others, strict=True)
        said = "; ".join(f"{name} {cell}".strip() for name, cell in named if cell)
        if said:
            terminal.print(Padding(Text(said), (0, 0, 0, 2)))


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
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{value!r} has no JSON form")
