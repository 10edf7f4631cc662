"""A pytest plugin for an older tree: wherever its tests migrate a database, apply our before scripts too.

`pytest -p newer_schema`, started in the older tree, with that tree and this folder on PYTHONPATH. The older
release has migrated first, so what happens next is what happens in a deploy: the before scripts are applied,
and those after wait.
"""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NEWER_TREE = Path(__file__).parents[2]

#: Not `oms migrate`, which also records the schedule: the tests begin with empty tables.
MIGRATE = """
import settings
from oms_workers import migrations
settings.load(need_servers=True)
for name in migrations.migrate():
    print(f"The newer release has applied {name}.", flush=True)
"""

_migrated = False


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Stand in for the older tree's two ways to a schema, before its conftest makes the first."""
    migrations = importlib.import_module("oms_workers.migrations")
    if config.rootpath not in Path(str(migrations.__file__)).parents:
        raise pytest.UsageError(f"{migrations.__file__} is not of the older tree, {config.rootpath}")
    migrations.migrate = _followed_by_ours(migrations.migrate, lambda: os.environ["DATABASE_URL"])
    if (config.rootpath / "tests" / "processes" / "stage.py").exists():
        stage = importlib.import_module("tests.processes.stage").Stage
        stage.release = _followed_by_ours(stage.release, lambda self: self.postgres.url)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tests that ran on the older schema would prove nothing."""
    if not hasattr(session.config, "workerinput") and not _migrated:
        raise pytest.UsageError("The older tree's conftest did not call `oms_workers.migrations.migrate()`.")


def _followed_by_ours(migrate: Callable[..., Any], url: Callable[..., str]) -> Callable[..., Any]:
    def both(*arguments: Any, **options: Any) -> Any:
        applied = migrate(*arguments, **options)
        _migrate(url(*arguments))
        return applied

    return both


def _migrate(url: str) -> None:
    global _migrated
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(NEWER_TREE)}
    with tempfile.TemporaryDirectory() as empty:
        # In an empty directory, where no `.env` is found.
        subprocess.run([sys.executable, "-c", MIGRATE], cwd=empty, env=environment, check=True)
    _migrated = True
