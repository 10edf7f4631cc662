"""`oms load`: a merchant's locations, stock and scenarios from JSON files."""

from pathlib import Path
from typing import Annotated

import typer

from oms_workers.cli.program import begin
from oms_workers.operation.load_files import STANDARD_INPUT, load_files
from oms_workers.operation.services import answering


def _readable(files: list[Path]) -> list[Path]:
    for file in files:
        if file != STANDARD_INPUT and (not file.exists() or file.is_dir()):
            raise typer.BadParameter(f"{str(file)!a} is no file")
    return files


def load(
    files: Annotated[
        list[Path], typer.Argument(callback=_readable, help="JSON files, or - for standard input.")
    ],
) -> None:
    """Add or change locations, stock and scenarios; all files together, or nothing of them.

    What a file leaves out of a known location, stock or scenario stays as it is.

    Example: oms load examples/locations.json examples/stock.json examples/scenarios.json
    Example: cat stock.json | oms load -
    """
    begin()
    with answering("PostgreSQL"):
        counts = load_files(files)
    print(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "Nothing was given.")
