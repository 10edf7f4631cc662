"""What no database and no other program can hold, in a document that is JSON: found and named by its path."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Far deeper than any order; Python gives up at about ten times as much.
MAX_DEPTH = 100

_TOO_DEEP = f"is nested in more than {MAX_DEPTH} levels"


def problems_of(document: Any) -> Iterator[str]:
    """Each value that cannot be stored, as `notes: holds a NUL`, in no promised order."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(document, ())]
    while waiting:
        value, path = waiting.pop()
        if problem := _problem_of(value):
            yield f"{_shown(path)}: {problem}"
        inner = _parts(value)
        if inner and len(path) >= MAX_DEPTH:
            yield f"{_shown(path[:3])}: {_TOO_DEEP}"
            continue
        for name, part in inner:
            if isinstance(name, str) and (problem := _problem_of(name)):
                yield f"{_shown((*path, name))}: its name {problem}"
            waiting.append((part, (*path, name)))


def without_depth(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The document with what is nested too deeply replaced by a text that says so."""
    if isinstance(value, Mapping | list) and depth <= 0:
        return _TOO_DEEP
    if isinstance(value, Mapping):
        return {name: without_depth(part, depth - 1) for name, part in value.items()}
    if isinstance(value, list):
        return [without_depth(part, depth - 1) for part in value]
    return value


def _parts(value: Any) -> Sequence[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return [*value.items()]
    return [*enumerate(value)] if isinstance(value, list) else ()


def _problem_of(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number"
    if not isinstance(value, str) or (value.isascii() and "\0" not in value):
        return None
    if "\0" in value:
        return "holds a NUL"
    if any("\ud800" <= sign <= "\udfff" for sign in value):
        return "holds half a surrogate pair, or a byte that is no text"
    return None


def _shown(path: Sequence[Any]) -> str:
    return (
        ".".join(ascii(step).strip("'") if isinstance(step, str) else str(step) for step in path) or "order"
    )
