"""A crontab's five fields as they are written: what of them cannot be meant, and what is likely meant."""

import re
from typing import NamedTuple

#: Names, numbers, lists, ranges and steps. cronsim knows more (`L`, `5#3`), cron does not.
_TERM = re.compile(r"[0-9A-Za-z*,/-]+")
_NUMBER_OR_NAME = re.compile(
    r"[0-9]+|SUN|MON|TUE|WED|THU|FRI|SAT|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC", re.I
)

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class CadenceError(ValueError):
    """A schedule's text cannot be read; the message says why and what would be right."""


class _Field(NamedTuple):
    """One of the five: its numbers, the names that some of them have, and of what they are parts.

    `seconds` is the interval that a step of one makes, as a product, where an interval can be so long.
    """

    name: str
    low: int
    high: int
    whole: str
    seconds: str = ""
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def number(self, word: str) -> int | None:
        """What a word stands for; None where it is none of this field's."""
        if word.isdigit():
            # Sunday is 7 as well.
            return int(word) if len(word) < 3 else None
        names = [*self.names]
        return names.index(word.upper()) + self.low if word.upper() in names else None

    def word(self, number: int, like: str) -> str:
        """The number, or its name where the other word is a name."""
        return str(number) if like.isdigit() else self.names[number - self.low]


_FIELDS = (
    _Field("minute", 0, 59, "an hour", "60"),
    _Field("hour", 0, 23, "a day", "60*60"),
    _Field("day of the month", 1, 31, "a month"),
    _Field("month", 1, 12, "a year", names=_MONTHS),
    _Field("day of the week", 0, 6, "a week", names=_WEEKDAYS),
)

#: The fields' names, in their order.
FIELD_NAMES = tuple(field.name for field in _FIELDS)

#: The longest interval, a week, in hours.
_MOST_HOURS = 7 * 24


def check_fields(fields: list[str]) -> None:
    """Raise `CadenceError`, which names the field, for what cron's own grammar has not, or nobody means."""
    for field, text in zip(_FIELDS, fields, strict=True):
        for term in text.split(","):
            _check_term(field, term, text)


def _check_term(field: _Field, term: str, text: str) -> None:
    bounds, slash, step = term.partition("/")
    words = bounds.split("-") if bounds != "*" else []
    readable = all(_NUMBER_OR_NAME.fullmatch(word) for word in words) and len(words) <= 2
    if not (_TERM.fullmatch(term) and readable):
        raise CadenceError(f"has no such {field.name} as {text[:80]!r}")
    if slash and (not step.isascii() or not step.isdigit() or len(words) == 1):
        raise CadenceError(
            f"has the step {term[:80]!r} in its {field.name}; a step follows * or a range, as in */15"
        )
    if slash:
        _check_step(field, term, step.lstrip("0"))
    if len(words) == 2:
        _check_range(field, *words)


def _check_step(field: _Field, term: str, step: str) -> None:
    if len(step) < 3 and int(step or "1") <= field.size:
        return
    problem = f"has {term[:80]!r} as its {field.name}, and {field.whole} has only {field.size}"
    if field.seconds and len(step) < 4 and (field.name == "minute" or int(step) <= _MOST_HOURS):
        interval = f"{field.seconds}*{step}"
        raise CadenceError(
            f"{problem}; for every {step} {field.name}s set {interval} as the interval, in _SCHEDULE"
        )
    raise CadenceError(f"{problem}, so that it would only run at its first; write that one")


def _check_range(field: _Field, first: str, last: str) -> None:
    """A range that goes round the end of its field is two for cron."""
    begin, end = field.number(first), field.number(last)
    if begin is None or end is None or begin <= end or not field.low <= begin <= field.high:
        return
    until = _range(field, begin, field.high, first)
    then = _range(field, field.low, end, last)
    raise CadenceError(
        f"has '{first}-{last}' as its {field.name}, which ends before it begins; write {until},{then},"
        " with blanks between the five fields"
    )


def _range(field: _Field, begin: int, end: int, like: str) -> str:
    words = [field.word(begin, like), field.word(end, like)]
    return "-".join(words if begin != end else words[:1])
