"""The files that are generated from the settings; `make docs` writes them, and a test compares them.

python -m oms_workers.operation.documents
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import settings
from oms_workers.configuration.document import configuration_page, example_file

GENERATED: Mapping[str, Callable[[], str]] = {
    "docs/configuration.md": lambda: configuration_page(settings.Settings),
    ".env.example": lambda: example_file(settings.Settings),
}


def write_documents(directory: Path) -> None:
    """Write every generated file below the checkout's root."""
    for name, make in GENERATED.items():
        (directory / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    write_documents(Path(settings.__file__).parent)
