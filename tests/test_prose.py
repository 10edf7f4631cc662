"""Docstrings and comments are read by engineers whose first language is not English."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings

ROOT = Path(settings.__file__).parent
FILES = [ROOT / "settings.py", ROOT / "schedules.py", *sorted((ROOT / "oms_workers").rglob("*.py"))]

MOST_WORDS = 30

#: The number of a task says nothing to a reader; its name does.
NUMBERED_TASK = re.compile(r"\btasks? \d", re.I)


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Each docstring and each comment of a file, without examples, with its line."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            paragraphs = (ast.get_docstring(node) or "").split("\n\n")
            yield from (
                (getattr(node, "lineno", 1), paragraph)
                for paragraph in paragraphs
                if not is_example(paragraph)
            )
    yield from comments_of(source)


def is_example(paragraph: str) -> bool:
    return paragraph.startswith(("    ", "@", ">>>", "- "))


def comments_of(source: str) -> Iterator[tuple[int, str]]:
    begun, last, words = 0, -1, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("#: ")
        if token.start[0] != last + 1:
            yield begun, words
            begun, words = token.start[0], ""
        last, words = token.start[0], f"{words} {text}"
    yield begun, words


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_are_short_and_tasks_have_names(path: Path) -> None:
    for line, text in prose_of(path):
        # Migrations that were applied are not edited any more.
        if not path.name[:4].isdigit():
            assert not NUMBERED_TASK.search(text), (line, text)
        for sentence in re.split(r"(?<=[.!?])\s", text):
            assert len(sentence.split()) <= MOST_WORDS, (line, sentence)
