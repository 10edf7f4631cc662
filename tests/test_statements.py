"""Hand-written SQL is the exception: each statement has its reason beside it, and there are few."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import settings

ROOT = Path(settings.__file__).parent / "oms_workers"

#: What begins a statement, or a part of one.
SQL = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|TRUNCATE|SET|EXISTS|CREATE|ALTER|DROP|VACUUM|ANALYZE)\s"
)

#: A comment that begins so, at most three lines above the statement, says why it is written by hand.
REASON = "# SQL:"
ABOVE = 3

MOST = 25


class Statement(NamedTuple):
    """A string that is SQL, or begins as SQL."""

    place: str
    text: str
    has_reason: bool

    def __str__(self) -> str:
        return f"{self.place} {self.text}"


def statements() -> list[Statement]:
    """All of the product's, outside of migrations."""
    paths = sorted(path for path in ROOT.rglob("*.py") if "migrations" not in path.parts)
    return [found for path in paths for found in statements_of(path)]


def statements_of(path: Path) -> Iterator[Statement]:
    lines = path.read_text().splitlines()
    for owner, text in strings_of(ast.parse(path.read_text())):
        if SQL.match(text):
            above = lines[max(0, owner.lineno - 1 - ABOVE) : owner.lineno - 1]
            has_reason = any(line.strip().startswith(REASON) for line in above)
            yield Statement(f"{path.name}:{owner.lineno}", " ".join(text.split())[:60], has_reason)


def strings_of(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Each string that is no docstring, with the simple statement of Python that it stands in."""
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.stmt) or hasattr(owner, "body"):
            continue
        if isinstance(owner, ast.Expr) and isinstance(owner.value, ast.Constant):
            continue
        nested = {part for node in ast.walk(owner) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(owner):
            if isinstance(node, ast.JoinedStr) and node.values:
                node = node.values[0]
            elif node in nested:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield owner, node.value


def test_every_hand_written_statement_has_its_reason_beside_it() -> None:
    assert [str(found) for found in statements() if not found.has_reason] == []


def test_there_are_few_hand_written_statements() -> None:
    found = [str(statement) for statement in statements()]

    assert len(found) <= MOST, "\n".join(found)


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        '"""SELECT is a word of a docstring."""\n'
        'QUERY = """\n    SELECT 1\n"""\n\n\n'
        "# SQL: a reason\n"
        'execute("UPDATE orders SET state = 1")\n'
        "def forget():\n"
        '    """UPDATE nothing."""\n'
        '    with connection():\n        execute(f"DELETE FROM {QUERY}")\n'
    )

    found = [(statement.text, statement.has_reason) for statement in statements_of(source)]

    assert found == [("SELECT 1", False), ("UPDATE orders SET state = 1", True), ("DELETE FROM", False)]
