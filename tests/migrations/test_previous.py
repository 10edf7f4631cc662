"""The previous release's tests, run on the newer schema."""

import shutil
from pathlib import Path

from tests.migrations.stage import PROJECT, Folder
from tests.previous.run import run_tests


def test_make_previous_tests_the_old_code_on_the_newer_schema(tmp_path: Path) -> None:
    old, newer = a_tree(tmp_path / "old"), a_tree(tmp_path / "newer")
    Folder(newer / "oms_workers" / "migrations").add("9001_before_shelf", "CREATE TABLE shelf (sku text)")
    (old / "tests" / "test_shelf.py").write_text(
        "from oms_workers import database, migrations\n"
        "def test_shelf(db):\n"
        f"    assert migrations.__file__.startswith({str(old)!r})\n"
        "    assert database.rows('SELECT * FROM shelf') == []\n"
    )

    assert run_tests(old, ["tests/test_shelf.py"], workers="0", newer=newer) == 0


def a_tree(path: Path) -> Path:
    """A copy of what a test of this release needs."""
    (path / "tests").mkdir(parents=True)
    for file in (
        "pyproject.toml",
        "settings.py",
        "schedules.py",
        "tests/__init__.py",
        "tests/conftest.py",
        "tests/proof.py",
    ):
        shutil.copy(PROJECT / file, path / file)
    for folder in ("oms_workers", "tests/previous"):
        shutil.copytree(PROJECT / folder, path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return path
