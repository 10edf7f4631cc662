"""Whatever is given to `oms load`, `oms command` and the settings: no traceback, no change, and a name."""

import copy
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from typer.testing import CliRunner

import settings
from oms_workers.cli.app import app
from oms_workers.database import database, rows
from oms_workers.errors import OmsError
from oms_workers.fulfilment.planner_input import active_scenarios
from oms_workers.operation.load_files import load_files
from oms_workers.packages.commands.registry import commands
from oms_workers.reservations.models import Meaning
from tests.examples import FILES
from tests.operation.test_load_files import everything

#: The fixtures are of the whole test; each example ends with a rollback.
FUZZ = profile(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["x" * 300, "", " ", "\0", "\n", "\ud800", "GEBZE-DC", "RED-LAMP", "1_000", "1", "-1", "0.0000000"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), TEXTS, st.floats(), st.integers(-(2**70), 2**70), st.just(10**400)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
MERCHANT = {
    "locations": [
        {"code": "BURSA", "name": "Bursa", "type": "store", "active": True, "priority": 1, "quota": 3,
         "country": "TR", "address": "x", "latitude": 1.5, "longitude": 2, "is_default": False},
        {"code": "GEBZE-DC", "active": True},
    ],
    "stock": [{"sku": "RED-LAMP", "location": "GEBZE-DC", "on_hand": 3, "safety": 1},
              {"sku": "NEW", "location": "BURSA", "on_hand": 3}],
    "scenarios": [
        {"name": "x", "priority": 1, "active": True, "conditions": {"channel": ["web"]},
         "rules": [{"name": "r", "filters": {"types": ["store"], "locations": ["GEBZE-DC"]},
                    "ranking": ["priority"], "mode": "single", "max_packages": 2, "min_package_value": "9.5",
                    "transferable": True, "transfer_from": {"except_locations": ["ANKARA"]},
                    "outcome": "hold", "hold_reason": "look", "allow_partial": False}]},
    ],
}  # fmt: skip


def places(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document."""
    steps = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path, *(place for step, inner in steps for place in places(inner, (*path, step)))]


@st.composite
def merchants(draw: st.DrawFn) -> Any:
    """A merchant's file in which something was replaced, left out, repeated or added."""
    document: Any = copy.deepcopy(MERCHANT)
    for _ in range(draw(st.integers(1, 2))):
        *path, step = draw(st.sampled_from([place for place in places(document) if place] or [("x",)]))
        owner = document
        for each in path:
            owner = owner[each]
        change = draw(st.sampled_from(["replace", "replace", "leave out", "repeat", "add"]))
        if change == "leave out" and isinstance(owner, dict | list):
            del owner[step]
        elif change == "repeat" and isinstance(owner, list):
            owner.append(copy.deepcopy(owner[step]))
        elif change == "add" and isinstance(owner, dict):
            owner[draw(TEXTS)] = draw(VALUES)
        else:
            owner[step] = draw(VALUES)
    return document


@pytest.fixture
def examples(db: None) -> None:
    load_files([Path(file) for file in FILES])


@FUZZ
@given(document=merchants())
def test_any_file_is_loaded_or_refused_by_name(examples: None, tmp_path: Path, document: Any) -> None:
    file = tmp_path / "merchant.json"
    file.write_text(json.dumps(document))
    with database.atomic() as changes:
        before = everything()

        try:
            with database.atomic():
                load_files([file])
        except OmsError as error:
            assert str(file) in str(error) or "default location" in str(error)
            assert everything() == before
        else:
            # What was let in can be planned with.
            assert active_scenarios()
        changes.rollback()


NUMBERS = st.one_of(st.sampled_from(["P1-1", "T1-1-1", "P9-9", ""]), TEXTS)
NAMES = st.one_of(st.sampled_from([known.name for known in commands()]), TEXTS)
OPTIONS = st.one_of(
    st.tuples(st.just("--missing"), st.sampled_from(["RED-LAMP=1", "RED-LAMP=9", "=1", "A="]) | TEXTS),
    st.tuples(st.just("--stock"), st.sampled_from([meaning.value for meaning in Meaning]) | TEXTS),
    st.tuples(st.just("--reason"), TEXTS),
    st.tuples(st.just("--version"), st.sampled_from(["0", "1", "2", "-1", "9" * 30, ""]) | TEXTS),
    st.tuples(st.just("--json")),
)
LINES = st.tuples(st.lists(NUMBERS, max_size=1), st.lists(NAMES, max_size=1), st.lists(OPTIONS, max_size=3))


@FUZZ
@given(line=LINES)
def test_any_command_line_is_done_or_refused_by_name(oms, package: str, line: Any) -> None:
    number, name, options = line
    arguments = [*number, *name, *(word for option in options for word in option)]
    with database.atomic() as changes:
        before = state_of_packages()

        ended = CliRunner().invoke(app, ["command", *arguments])

        said = ended.stderr + str(ended.exception)
        assert ended.exception is None or isinstance(ended.exception, OmsError | SystemExit), said
        if ended.exit_code:
            assert state_of_packages() == before
            assert names_something(said, arguments), said
        changes.rollback()


def state_of_packages() -> list[Any]:
    tables = ("packages", "package_items", "reservations", "stock", "audit_events")
    return [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def names_something(said: str, arguments: list[str]) -> bool:
    """Whether a refusal has the name of an argument, or one that was given."""
    names = ["PACKAGE", "COMMAND", "--missing", "--stock", "--reason", "--version", "SKU=UNITS", "meaning"]
    return any(name in said for name in [*names, *filter(str.strip, arguments)])


VARIABLES = [*map(str.upper, settings.Settings.model_fields), *settings.TASK_VARIABLES]
OF_VARIABLES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.text(alphabet="0123456789*,/- FRIMON'\"#", max_size=14),
    st.sampled_from(
        ["60*60", "9" * 5000, "1*" * 900 + "1", "true", "postgres://a:hunter2@b/c", "redis://", "unix://",
         "https://[", "//", "0 0 * * FRI-MON", "*/90 * * * *", "'60'", "60 # s", "UTC", "../UTC", "nan"]
    ),
)  # fmt: skip


@FUZZ
@given(variables=st.dictionaries(st.sampled_from(VARIABLES), OF_VARIABLES, max_size=4))
def test_any_setting_is_read_or_refused_by_name(elsewhere: None, variables: dict[str, str]) -> None:
    before = settings.current()
    try:
        with mock.patch.dict(os.environ, variables):
            settings.load(need_servers=False)
            settings.warnings()
    except settings.SettingsError as error:
        assert {problem.variable for problem in error.problems} <= set(variables)
        assert error.problems
        assert "hunter2" not in str(error)
        assert settings.current() is before
    finally:
        settings._current = before
