"""The page of all variables and the example file are what the settings say."""

from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings

import settings
from oms_workers.configuration.document import configuration_page, groups_of
from oms_workers.configuration.operations import OPERATIONS
from oms_workers.operation.documents import GENERATED, write_documents
from tests import seed

PROJECT = Path(settings.__file__).parent


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_what_would_be_generated(name: str) -> None:
    assert (PROJECT / name).read_text(encoding="utf-8") == GENERATED[name](), f"{name} differs: `make docs`"


@pytest.mark.parametrize("name", ["docs/configuration.md", ".env.example"])
def test_every_variable_is_in_every_generated_file(name: str) -> None:
    text = GENERATED[name]()

    keys = [key + suffix for key in settings.TASK_KEYS for suffix in ("", "_SCHEDULE", "_CRONTAB")]
    assert len(keys) == 54
    for variable in [*map(str.upper, settings.Settings.model_fields), *keys]:
        assert f"`{variable}` |" in text or f"# {variable}=" in text, variable


def test_make_docs_writes_them(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()

    write_documents(tmp_path)

    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        ".env.example",
        "configuration.md",
        "retention.md",
    }


def test_every_limit_of_a_table_is_on_the_page_of_retention() -> None:
    page = GENERATED["docs/retention.md"]()

    for name in settings.Settings.model_fields:
        if name.endswith(("_days", "_max_rows")):
            assert f"| `{name.upper()}` (" in page, name


def test_each_variable_is_in_one_group_and_says_what_it_means() -> None:
    groups = groups_of(settings.Settings)

    assert all(groups), "a variable stands before the first group's comment"
    assert [name for fields in groups.values() for name in fields] == [*settings.Settings.model_fields]
    for fields in groups.values():
        for name, info in fields.items():
            assert info.description, name
            assert info.description.endswith("."), name
            assert info.examples, name


def test_a_number_without_a_unit_is_refused() -> None:
    class Wrong(BaseSettings):
        # Servers
        patience: int = Field(default=1, description="How long it waits.", examples=["1"])

    with pytest.raises(ValueError, match="The unit of PATIENCE is not known"):
        configuration_page(Wrong)


def test_names_defaults_and_examples_are_the_operators_documents() -> None:
    documented = [
        (each.name, each.env_key, each.default.replace(" ", ""), each.schedule_example, each.crontab_example)
        for each in seed.OPERATIONS
    ]

    assert [tuple(each) for each in OPERATIONS] == documented
