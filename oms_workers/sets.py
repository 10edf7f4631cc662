"""Sets of rows in one statement each: arrays as a table, states as typed fields, rows that come back typed.

A set of keys or of rows is one parameter a column. `Arrays` makes a table of them, `one_of` a condition.
`among` writes states into the statement, as a partial index has them. `fetch` gives the rows of a query as
named tuples, whose fields are its columns.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from functools import reduce
from operator import and_
from typing import Any, TypeVar

from peewee import (
    SCOPE_SOURCE,
    SQL,
    EnclosedNodeList,
    Entity,
    Field,
    ForeignKeyField,
    IntegerField,
    Model,
    NodeList,
    TextField,
    Value,
    ValuesList,
    fn,
)

R = TypeVar("R")

#: Of the documents that travel as one, far below PostgreSQL's limit of 256 MB for one.
MOST_CHARACTERS = 32 * 1024 * 1024

#: PostgreSQL's names of the types that our fields have.
_ARRAY_TYPES = {
    "BIGAUTO": "bigint",
    "BIGINT": "bigint",
    "BOOL": "boolean",
    "DECIMAL": "numeric",
    "DOUBLE": "double precision",
    "INT": "integer",
    "JSONB": "jsonb",
    "TEXT": "text",
    "TIMESTAMPTZ": "timestamptz",
    "UUID": "uuid",
}


class _MemberField(Field):
    """A state of which Python sees the member of the enum."""

    def __init__(self, members: type[IntEnum | StrEnum], **options: Any) -> None:
        self.members = members
        super().__init__(**options)

    def db_value(self, value: Any) -> Any:
        return None if value is None else self.members(value).value

    def python_value(self, value: Any) -> Any:
        return None if value is None else self.members(value)


class CodeField(_MemberField, IntegerField):
    """A state that is stored as its number, the value of an `IntEnum`."""


class NameField(_MemberField, TextField):
    """A state that is stored as its name, the value of a `StrEnum`."""


class Arrays(ValuesList):
    """Rows as a table: one array, and so one parameter, a column. `c` has the columns."""

    _alias: str
    _columns: list[str]

    def __init__(self, name: str, columns: Mapping[str, Field], rows: Iterable[Sequence[Any]]) -> None:
        self.fields = columns
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        stored = {
            column: _as_stored(field, own)
            for (column, field), own in zip(columns.items(), values, strict=True)
        }
        documents = [column for column in columns if _fits_one_document(columns[column], stored[column])]
        arrays = [column for column in columns if column not in documents]
        self._functions = [
            _unnest([(columns[column], stored[column]) for column in arrays]),
            *(_elements(stored[column]) for column in documents),
        ]
        super().__init__(values, columns=[*arrays, *documents], alias=name)

    @classmethod
    def of(cls, model: type[Model], rows: Sequence[Any], *, name: str = "new", **others: Field) -> "Arrays":
        """Named tuples whose fields are columns of the model, or are given a type by a field in `others`."""
        names = rows[0]._fields
        known = model._meta.columns
        return cls(name, {column: others.get(column) or known[column] for column in names}, rows)

    def __sql__(self, context: Any) -> Any:
        if context.scope != SCOPE_SOURCE:
            return context.sql(Entity(self._alias))
        context.literal("ROWS FROM ").sql(EnclosedNodeList(self._functions))
        context.literal(" AS ").sql(Entity(self._alias)).literal(" ")
        return context.sql(EnclosedNodeList([Entity(column) for column in self._columns]))

    def matches(self, model: type[Model], *columns: str) -> Any:
        """The condition that these columns are those of the model's row."""
        known = model._meta.columns
        return reduce(and_, (known[column] == getattr(self.c, column) for column in columns))


def _unnest(arrays: Iterable[tuple[Field, Sequence[Any]]]) -> Any:
    parameters = [_typed_array(field, stored) for field, stored in arrays]
    return NodeList((SQL("unnest"), EnclosedNodeList(parameters)), glue="")


def _fits_one_document(field: Field, stored: Sequence[Any]) -> bool:
    """Whether a column of documents travels as one document.

    In an array of texts each of their quotes is escaped again. But PostgreSQL has a limit for one document
    that it does not have for an array of them.
    """
    return _is_json(field) and None not in stored and sum(map(len, stored)) <= MOST_CHARACTERS


def _elements(documents: Sequence[str]) -> Any:
    whole = _parameter(f"[{','.join(documents)}]")
    return fn.jsonb_array_elements(NodeList((whole, SQL("::jsonb")), glue=""))


def one_of(field: Any, values: Iterable[Any]) -> Any:
    """The condition that a column has one of these values; they are one parameter, however many there are."""
    return field == fn.ANY(_array(field, values))


def none_of(field: Any, values: Iterable[Any]) -> Any:
    """The condition that a column has none of these values."""
    return field != fn.ALL(_array(field, values))


def among(field: Any, members: Iterable[IntEnum | StrEnum]) -> Any:
    """The condition that a state is one of these, which stand in the statement itself.

    Only so can PostgreSQL tell, also of a prepared statement, that a partial index has all that is asked for.
    """
    return NodeList((field, SQL(f"IN ({_literals(members)})")))


def not_among(field: Any, members: Iterable[IntEnum | StrEnum]) -> Any:
    """The condition that a state is none of these."""
    return NodeList((field, SQL(f"NOT IN ({_literals(members)})")))


def _literals(members: Iterable[IntEnum | StrEnum]) -> str:
    # Names in our enums have no quotes in them.
    return ", ".join(str(each.value) if isinstance(each, IntEnum) else f"'{each.value}'" for each in members)


def _array(field: Any, values: Iterable[Any]) -> Any:
    return _typed_array(field, _as_stored(field, values))


def _typed_array(field: Any, stored: Sequence[Any]) -> Any:
    return NodeList((_parameter(stored), SQL(_cast(field))), glue="")


def _parameter(value: Any) -> Any:
    return Value(value, converter=False, unpack=False)


def for_change(query: Any, *, of: type[Model] | None = None, skip_locked: bool = False) -> Any:
    """The query with its rows locked until the transaction ends, from others who would change them.

    Those who only refer to the rows, by a foreign key, do not have to wait. `of` is the table whose rows are
    locked, where there are several.
    """
    return query.for_update("FOR NO KEY UPDATE", of=of, skip_locked=skip_locked)


def columns_of(model: type[Model], into: type[Any], *, besides: Sequence[str] = ()) -> list[Any]:
    """The columns of one table that `fetch` needs to make `into`, without those that come from elsewhere."""
    return [getattr(model, name) for name in _fields(into) if name not in besides]


def fetch(query: Any, into: type[R]) -> list[R]:
    """The query's rows, each as `into`: a named tuple or a dataclass whose fields are the query's columns.

    Raises `TypeError` where they are not.
    """
    names, found = _execute(query)
    if names != [*_fields(into)]:
        raise TypeError(f"{into.__name__} has {[*_fields(into)]}, and the query has {names}.")
    return [into(*row) for row in found]


def fetch_one(query: Any, into: type[R]) -> R | None:
    """The query's first row, or None."""
    found = fetch(query, into)
    return found[0] if found else None


def column(query: Any) -> list[Any]:
    """The values of a query that has one column."""
    _, found = _execute(query)
    return [value for (value,) in found]


def exists(query: Any) -> bool:
    """Whether the query has a row."""
    _, found = _execute(query.limit(1))
    return bool(found)


def _execute(query: Any) -> tuple[list[str], list[Sequence[Any]]]:
    """The names of a query's columns, and its rows, states as their members.

    Peewee would convert each value of each row, and fetch the rows one by one; psycopg's types are right for
    all but the states.
    """
    answer = query.tuples().execute()
    answer.initialize()
    states = [
        (number, field)
        for number, field in enumerate(getattr(answer, "fields", ()))
        if isinstance(field, _MemberField)
    ]
    found = answer.cursor.fetchall()
    if states:
        found = [[*row] for row in found]
        for number, field in states:
            for row in found:
                row[number] = field.python_value(row[number])
    return [description.name for description in answer.cursor.description], found


def constant(field: Any, value: Any) -> Any:
    """A parameter with its type: PostgreSQL takes an untyped one of a SELECT for text."""
    stored = json.dumps(value) if _is_json(field) else field.db_value(value)
    return NodeList((_parameter(stored), SQL(f"::{type_of(field)}")), glue="")


def type_of(field: Field) -> str:
    """PostgreSQL's type of a field's column."""
    if isinstance(field, ForeignKeyField):
        return type_of(field.rel_field)
    return _ARRAY_TYPES[field.field_type]


def _cast(field: Field) -> str:
    # An array of JSON documents travels as an array of texts.
    return "::text[]::jsonb[]" if _is_json(field) else f"::{type_of(field)}[]"


def _is_json(field: Any) -> bool:
    return bool(field.field_type == "JSONB")


def _as_stored(field: Field, values: Iterable[Any]) -> list[Any]:
    if isinstance(field, _MemberField):
        return [getattr(value, "value", value) for value in values]
    if _is_json(field):
        return [None if value is None else json.dumps(value) for value in values]
    return [*values]


def _fields(into: type[Any]) -> Sequence[str]:
    if dataclasses.is_dataclass(into):
        return [field.name for field in dataclasses.fields(into)]
    names: Sequence[str] = into._fields
    return names
