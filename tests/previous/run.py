"""`make previous`: the previous release's tests of what its processes do, on the schema of this release.

Its code and its tests come from git, unchanged; `newer_schema.py` brings this tree's before scripts. They
run with the packages of this tree's virtual environment.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).parents[2]

#: Folders whose tests are not of what the processes do: once it is deployed, the new code does this.
NOT_OF_PROCESSES = {"cli", "operation", "previous", "sandbox"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", help="a tag or revision; the newest tag where none is given")
    parser.add_argument("--workers", default="2", help="how many tests run at once")
    parser.add_argument("tests", nargs="*", help="some of its files or folders of tests")
    arguments = parser.parse_args()
    release = arguments.release or _previous_release()
    print(f"The release {release} on the schema of this tree:", flush=True)
    with tempfile.TemporaryDirectory(prefix="oms-", ignore_cleanup_errors=True) as directory:
        old = Path(directory) / "release"
        _git("worktree", "add", "--quiet", "--detach", str(old), release)
        try:
            return run_tests(old, arguments.tests or _tests_of(old), arguments.workers)
        finally:
            _git("worktree", "remove", "--force", str(old))


def run_tests(old: Path, tests: list[str], workers: str, *, newer: Path = TREE) -> int:
    """Run `tests` of the tree `old` with its own code on the schema of `newer`; pytest's exit status."""
    # The old tree comes first, so that nothing of the newer one is imported but the plugin.
    path = os.pathsep.join([str(old), str(newer / "tests" / "previous")])
    command = [sys.executable, "-m", "pytest", "-p", "newer_schema", "-n", workers, "--dist", "worksteal"]
    ended = subprocess.run([*command, *tests], cwd=old, env={**os.environ, "PYTHONPATH": path}, check=False)
    return ended.returncode


def _previous_release() -> str:
    """The newest tag; before the first release, the last revision that did not have the newest script."""
    tag = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=TREE, capture_output=True, text=True, check=False
    )
    if tag.returncode == 0:
        return tag.stdout.strip()
    newest = _git("log", "-1", "--format=%h", "--diff-filter=A", "--", "oms_workers/migrations/[0-9]*.py")
    return f"{newest}^"


def _tests_of(old: Path) -> list[str]:
    folders = {file.parent.name for file in (old / "tests").glob("*/__init__.py")}
    return [f"tests/{name}" for name in sorted(folders - NOT_OF_PROCESSES)]


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=TREE, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        sys.exit(f"`git {' '.join(arguments)}` failed; RELEASE names a tag or revision of this repository.")
    return ended.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
