"""The documents are plain, name the tasks by their names, and are true where that can be checked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings
from oms_workers.cli.app import app
from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.scenarios import (
    CRITERIA,
    Filters,
    Mode,
    Rule,
    RuleOutcome,
    ScenarioSpec,
)
from oms_workers.operation.load_files import load_files
from oms_workers.orders.parsing import FACTS
from oms_workers.packages.commands.registry import Option, commands
from schedules import TABLE
from tests.examples import FILES

PROJECT = Path(settings.__file__).parent
DOCUMENTS = [
    PROJECT / "README.md",
    PROJECT / "CHANGELOG.md",
    PROJECT / "benchmarks" / "README.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]

MOST_WORDS = 30

FENCE = re.compile(r"^\s*```(\w*)\n(.*?)^\s*```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[([^]]*)\]\(([^)\s]+)\)")
#: Where a new paragraph begins: after a blank line, at a heading, at an item of a list.
PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )")
NUMBERED_TASK = re.compile(r"\btasks? \d+", re.IGNORECASE)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a document, without its code blocks and tables; code in a line is one word."""
    prose = re.sub(r"^\|.*$", "", FENCE.sub("", text), flags=re.MULTILINE)
    prose = LINK.sub(r"\1", re.sub(r"`[^`]*`", "code", prose))
    for paragraph in PARAGRAPH.split(prose):
        yield from re.split(r"(?<=[.!?])[*)]*\s+", " ".join(paragraph.split()))


def words(sentence: str) -> int:
    return sum(any(sign.isalnum() for sign in word) for word in sentence.split())


def relative(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_no_sentence_is_long(document: Path) -> None:
    long = [
        f"{words(each)} words: {each}" for each in sentences(document.read_text()) if words(each) > MOST_WORDS
    ]

    assert not long, "\n".join(long)


def test_no_description_of_a_variable_is_long() -> None:
    for info in settings.Settings.model_fields.values():
        assert all(words(each) <= MOST_WORDS for each in sentences(info.description or ""))


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_tasks_have_names_and_no_numbers(document: Path) -> None:
    assert NUMBERED_TASK.findall(document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_leads_to_a_file(document: Path) -> None:
    for _, target in LINK.findall(document.read_text()):
        path = target.partition("#")[0]
        if path and "://" not in path:
            assert (document.parent / path).exists(), target


@pytest.mark.parametrize(("count", "is_long"), [(29, False), (30, False), (31, True)])
def test_words_are_counted(count: int, is_long: bool) -> None:
    left_out = f"| {'cell ' * 99} |\n\n```\n{'code ' * 99}\n```\n\n"
    text = f"A table:\n\n{left_out}- {'word ' * (count - 1)}`x y z`. End."

    assert any(words(each) > MOST_WORDS for each in sentences(text)) is is_long


def test_the_readme_leads_to_every_document() -> None:
    readme = (PROJECT / "README.md").read_text()

    for document in (PROJECT / "docs").glob("*.md"):
        assert f"](docs/{document.name})" in readme


def test_the_readme_has_the_tasks_and_the_commands() -> None:
    readme = (PROJECT / "README.md").read_text()

    for task in TABLE:
        assert f"| `{task.name}` | `{task.env_key}` |" in readme
    for command in app.registered_commands:
        assert f"| `oms {command.name}" in readme


def scenarios_page() -> str:
    return (PROJECT / "docs" / "scenarios.md").read_text()


def test_every_example_of_a_scenario_can_be_loaded(db: None, tmp_path: Path) -> None:
    load_files([*map(Path, FILES)])
    examples = [json.loads(text) for language, text in FENCE.findall(scenarios_page()) if language == "json"]

    assert examples
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.json"
        is_whole = "scenarios" in example or "stock" in example
        file.write_text(json.dumps(example if is_whole else {"scenarios": [example]}))
        loaded = load_files([file])
        assert loaded["scenarios"] or loaded["stock levels"]


def test_the_page_of_scenarios_names_everything_that_may_be_written() -> None:
    page = scenarios_page()

    fields = [*ScenarioSpec.model_fields, *Rule.model_fields, *Filters.model_fields]
    for name in [*fields, *CRITERIA, *FACTS, *(each.value for each in (*Mode, *RuleOutcome))]:
        assert f"`{name}`" in page, name


def test_the_page_of_scenarios_has_every_verdict_and_every_command() -> None:
    page = scenarios_page()

    verdicts = [value for name, value in vars(trace).items() if name.isupper() and isinstance(value, str)]
    assert len(verdicts) > 10
    for verdict in verdicts:
        assert f"| {verdict} |" in page, verdict
    for command in commands():
        row = rf"\| `{command.name}` \| {command.subject} \| [^|]+ \| (`\w+` )?\|"
        assert (found := re.search(row, page)), command.name
        assert bool(found[1]) == (Option.STOCK in command.takes), command.name
