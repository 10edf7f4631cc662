"""What may stand in a merchant's file: names, texts and numbers; and what is said of a row that cannot."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WrapValidator

from oms_workers.errors import OmsError
from oms_workers.normal_form import written_form

#: The largest number, of units or of places in an order: far from the end of PostgreSQL's integer.
MOST = 1_000_000_000

#: Years that a time can have; PostgreSQL and Python can both represent them in every zone.
FIRST_YEAR, LAST_YEAR = 1970, 9000

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


class Misfit(NamedTuple):
    """What cannot be meant of the row with this number in what was given.

    `path` is the place within the row, and `value` what stands there; both are empty for the row as a whole.
    """

    row: int
    path: str
    value: str
    problem: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.path, self.value))) + f": {self.problem}"


class LoadError(OmsError):
    """A file for `oms load` has something that cannot be true; nothing of it was written."""


class MisfitError(LoadError):
    """Rows of what is to be loaded cannot be meant; `misfits` are all of them."""

    def __init__(self, misfits: Sequence[Misfit]) -> None:
        self.misfits = misfits
        super().__init__("; ".join(map(str, misfits)))


def refuse(misfits: Iterable[Misfit]) -> None:
    """Raise `MisfitError` where there are any."""
    found = [*misfits]
    if found:
        raise MisfitError(found)


def repeated(names: Iterable[Any]) -> list[int]:
    """The positions of the names that stood before."""
    first: dict[Any, int] = {}
    return [number for number, name in enumerate(names) if first.setdefault(name, number) < number]


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty or only blanks")
    if not text.isprintable():
        raise ValueError("holds a control character or another sign that cannot be read")
    return written_form(text)


def _text(text: str) -> str:
    if not all(sign.isprintable() or sign in "\n\t" for sign in text):
        raise ValueError("holds a control character or another sign that cannot be read")
    return text


def _whole(value: Any) -> Any:
    """pydantic would take true for 1, and `"1_000"` for a thousand."""
    if isinstance(value, bool) or (isinstance(value, str) and not _INTEGER.fullmatch(value)):
        raise ValueError("is not a whole number")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and not _DECIMAL.fullmatch(value)):
        raise ValueError("is not a number")
    return value


#: The context in which what is stored is read: it was checked when it was loaded, maybe less strictly.
STORED = {"stored": True}


def _checked(value: Any, check: Callable[[Any], Any], info: ValidationInfo) -> Any:
    return value if info.context == STORED else check(value)


def _moment(value: Any) -> datetime:
    """A time without an offset may mean hours earlier or later, and a number any unit."""
    form = "is no time with an offset, such as 2026-11-25T09:30:00+03:00 or 2026-11-25T06:30:00Z"
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(form) from None
    if moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(form)
    return moment.astimezone(UTC)


def _amount(value: Any, check: Callable[[Any], Any], info: ValidationInfo) -> Any:
    return Decimal(value) if info.context == STORED else check(value)


_UnlessStored = WrapValidator(_checked)

Name = Annotated[str, Field(max_length=255), AfterValidator(_name), _UnlessStored]
Text = Annotated[str, Field(max_length=2_000), AfterValidator(_text)]
Reason = Annotated[str, Field(max_length=2_000), AfterValidator(_name), _UnlessStored]
Whole = Annotated[int, Field(ge=-MOST, le=MOST), BeforeValidator(_whole), _UnlessStored]
Degrees = Annotated[float, BeforeValidator(_number)]
Amount = Annotated[Decimal, Field(ge=0, le=MOST), BeforeValidator(_number), WrapValidator(_amount)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
