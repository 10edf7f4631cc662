"""`oms load`: a merchant's locations, stock and scenarios from JSON files."""

from pathlib import Path
from typing import Annotated

import typer

from oms_workers.cli.program import begin
from oms_workers.operation.load_files import load_files
from oms_workers.operation.services import answering


def load(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="JSON files.")
    ],
) -> None:
    """Add or change locations, stock and scenarios; all files together, or nothing of them.

    Example: oms load examples/locations.json examples/stock.json examples/scenarios.json
    """
    begin()
    with answering("PostgreSQL"):
        counts = load_files(files)
    print(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "Nothing was given.")
