"""The files that are generated from settings and limits; `make docs` writes them, and a test compares them.

python -m oms_workers.operation.documents
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import settings
from oms_workers.configuration.document import configuration_page, example_file
from oms_workers.operation.retention_page import retention_page
from oms_workers.retention import registered_kept, registered_retentions

GENERATED: Mapping[str, Callable[[], str]] = {
    "docs/configuration.md": lambda: configuration_page(settings.Settings),
    ".env.example": lambda: example_file(settings.Settings),
    "docs/retention.md": lambda: retention_page(registered_retentions(), registered_kept()),
}


def write_documents(directory: Path) -> None:
    """Write every generated file below the checkout's root."""
    for name, make in GENERATED.items():
        (directory / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    # Importing it begins a program, whose rooms say how long they keep what they have.
    settings.load(need_servers=False)
    importlib.import_module("schedules")
    write_documents(Path(settings.__file__).parent)
