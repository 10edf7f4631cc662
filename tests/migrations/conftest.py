"""A new database, and one of the release before."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oms_workers import migrations
from tests.conftest import TEMPLATE
from tests.migrations.stage import Folder, a_database, scripts, working_on


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The address of a database without a schema."""
    with a_database("template0") as url:
        yield url


@pytest.fixture
def released_database() -> Iterator[str]:
    """The address of a database that has had this release."""
    with a_database(TEMPLATE) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    path = tmp_path / "scripts"
    path.mkdir()
    for script in scripts():
        shutil.copy(migrations.DIRECTORY / f"{script}.py", path)
    monkeypatch.setattr(migrations, "DIRECTORY", path)
    return Folder(path)


@pytest.fixture
def new(empty_database: str, folder: Folder, configure: Callable[..., object]) -> Iterator[Folder]:
    """The scripts to add to, while this process works on a database without a schema."""
    with working_on(empty_database, configure):
        yield folder


@pytest.fixture
def released(released_database: str, folder: Folder, configure: Callable[..., object]) -> Iterator[Folder]:
    """The scripts of the next release to add to, while this process works on one that has had this."""
    with working_on(released_database, configure):
        yield folder
