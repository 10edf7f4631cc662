"""Nothing happens on import: every module can be imported alone, with no variable set."""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import oms_workers
import settings

PROJECT = Path(settings.__file__).parent

#: Imports once what all of them need, then each module in a forked process, as if it were the first.
IMPORT_EACH = """
import importlib, os, sys, traceback
for library in (
    "dramatiq.brokers.redis", "flask", "periodiq", "playhouse.pool", "playhouse.postgres_ext",
    "playhouse.migrations", "psycopg", "pydantic_settings", "redis", "requests", "rich.live", "typer",
):
    importlib.import_module(library)
for module in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(module)
            import dramatiq.broker, settings
            assert dramatiq.broker.global_broker is None, "it makes a broker"
            assert settings._current is None, "it reads the settings"
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("cannot be imported:", module)
"""


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(oms_workers.__path__, "oms_workers.")]
    # Migrations are loaded by their runner, and their names are no identifiers.
    return [name for name in found if not name.split(".")[-1][0].isdigit() and not name.endswith("__main__")]


def test_every_module_can_be_imported_alone_with_an_empty_environment(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *modules()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert len(modules()) > 80
    assert (ended.stdout, ended.returncode) == ("", 0), ended.stderr
