"""The pinned requirements are those of pyproject.toml, name no index, and carry their hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import settings

PROJECT = Path(settings.__file__).parent
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for package, version in PINNED.findall((PROJECT / name).read_text()):
        found.setdefault(canonicalize_name(package), set()).add(Version(version))
    return found


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [
        Requirement(text) for text in [*project["dependencies"], *(r for x in extras for r in optional[x])]
    ]


@pytest.mark.parametrize(
    ("name", "extras"), [("requirements.txt", ()), ("requirements-dev.txt", ("local", "dev"))]
)
def test_every_dependency_is_pinned_to_a_version_that_it_allows(name: str, extras: tuple[str, ...]) -> None:
    pinned = pins(name)

    for requirement in declared(*extras):
        versions = pinned.get(canonicalize_name(requirement.name))
        assert versions, f"{name} does not pin {requirement}; run `make requirements`"
        for version in versions:
            assert version in requirement.specifier, f"{name} pins {version}, not {requirement}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_name_no_index_and_carry_hashes(name: str) -> None:
    text = (PROJECT / name).read_text()

    assert "--index" not in text
    assert "://" not in text
    for pin in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in pin, pin


def test_both_files_agree() -> None:
    base, everything = pins("requirements.txt"), pins("requirements-dev.txt")

    assert {package: everything.get(package) for package in base} == base
