"""The one door: every creation and every change of state of an object goes through it, in sets.

    with Door(actor, at) as door:
        door.create(PACKAGE, new_packages, order=...)
        door.change(ORDER, [Change(42, WAITING, PLANNED, "planned", {"plan": 7})])

The door checks that each transition is allowed, moves the object's version, and writes one audit event a
change, with names and never numbers. At the end of the block it tells the listeners. All of it is in the
caller's transaction: what is rolled back has never happened.

Rooms above add *listeners*. A listener is a function that is called with the door and the events of the
block, in their order, once a block and not once an object:

    def remember(door: Door, events: Sequence[Event]) -> None: ...

    listen(remember)

When it is called, every row of the block is written, and the caller's locks are held. It may read and write
in the same transaction, and it may change other objects through the same door: the events of that are told in
a second round. It must not wait on the network. What it raises ends the caller's transaction. What is to be
sent it writes into a table, and sends after the commit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Any, NamedTuple

from oms_workers.audit_events.models import AuditEvent
from oms_workers.database import Table
from oms_workers.errors import OmsError
from oms_workers.sets import Arrays, column

State = IntEnum | StrEnum

#: Listeners that answer one another without end must not hold a transaction for ever.
MOST_ROUNDS = 10


class TransitionError(OmsError):
    """A state does not follow another, or the object is no longer what it was."""


class ListenerError(OmsError):
    """A listener is registered twice, or listeners never come to an end."""


@dataclass(frozen=True)
class Subject:
    """A kind of object that has states.

    `name` is what audit events call it. `initial` are the states in which it may be created, and
    `transitions` has for each state those that may follow it. `version` is the column that counts its changes
    and `changed_at` the one that has the time of the last, where there is one. `parts` is a table whose rows
    have the state of their object, which they name in the column `<name>_id`.
    """

    name: str
    model: type[Table]
    initial: frozenset[Any]
    transitions: Mapping[Any, frozenset[Any]]
    version: str | None = "version"
    changed_at: str | None = "changed_at"
    parts: type[Table] | None = None


class Change(NamedTuple):
    """An object that goes from one state to another, by its id, and what led to it.

    Where `after` is `before`, the state stays, and the action says what else about the object has changed.
    With a `version` the object must still have that version.
    """

    id: int
    before: State
    after: State
    action: str
    content: Mapping[str, Any] = {}
    version: int | None = None


class Event(NamedTuple):
    """What has happened to an object; `before` is None for its creation, and both are for a mere note."""

    subject: str
    id: int
    action: str
    before: State | None
    after: State | None
    content: Mapping[str, Any]


Listener = Callable[["Door", Sequence[Event]], None]

_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Tell this function what happens at the door. Raises `ListenerError` where it is told already."""
    if listener in _listeners:
        raise ListenerError(
            f"The listener {listener.__module__}.{listener.__qualname__} is registered twice."
        )
    _listeners.append(listener)


class Door:
    """A block of changes by one actor at one time; see the module's first lines.

    `actor` is the task's path, or who it was that gave a command.
    """

    def __init__(self, actor: str, at: datetime) -> None:
        self.actor = actor
        self.at = at
        self._events: list[Event] = []

    def __enter__(self) -> "Door":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()

    def create(
        self,
        subject: Subject,
        rows: Sequence[Any],
        *,
        action: str = "created",
        contents: Iterable[Mapping[str, Any]] | None = None,
        **constants: Any,
    ) -> None:
        """Insert objects: named tuples whose fields are columns, `id` and `state` among them.

        `contents` has what the event of each says besides its state. Raises `TransitionError` for a state
        in which no such object begins.
        """
        _check_initial(subject, rows)
        subject.model.insert_set(rows, **constants)
        self._note_creations(subject, rows, action, contents)

    def create_missing(
        self,
        subject: Subject,
        rows: Sequence[Any],
        *,
        action: str = "created",
        contents: Iterable[Mapping[str, Any]] | None = None,
        **constants: Any,
    ) -> list[int]:
        """Like `create`, but leaves out what a unique column has already; returns the ids that are new."""
        if not rows:
            return []
        _check_initial(subject, rows)
        key = subject.model._meta.columns["id"]
        insertion = subject.model.insertion(rows, **constants).on_conflict_ignore()
        new = column(insertion.returning(key))
        told = zip(rows, contents or [{}] * len(rows), strict=True)
        created = [(row, content) for row, content in told if row.id in new]
        self._note_creations(subject, [row for row, _ in created], action, [each for _, each in created])
        return new

    def change(self, subject: Subject, changes: Sequence[Change]) -> None:
        """Change objects whose rows the caller has locked, and their parts.

        Raises `TransitionError` where a state does not follow, or where an object does not have the state or
        the version that it leaves.
        """
        if not changes:
            return
        for change in changes:
            if change.after is not change.before and change.after not in subject.transitions[change.before]:
                raise TransitionError(
                    f"The {subject.name} {change.id} cannot go from {name_of(change.before)} to"
                    f" {name_of(change.after)}."
                )
        self._write(subject, changes)
        self._events += [
            Event(subject.name, change.id, change.action, change.before, change.after, change.content)
            for change in changes
        ]

    def note(self, subject: Subject, id_: int, action: str, content: Mapping[str, Any]) -> None:
        """Add an event that is no change of the object's state, nor of its version."""
        self._events.append(Event(subject.name, id_, action, None, None, content))

    def _write(self, subject: Subject, changes: Sequence[Change]) -> None:
        model, columns = subject.model, subject.model._meta.columns
        guards = [(change.id, change.before, change.after, change.version) for change in changes]
        types = {"id": columns["id"], "before": columns["state"], "after": columns["state"]}
        version = columns[subject.version] if subject.version else None
        new = Arrays("change", {**types, "version": version or columns["id"]}, guards)
        update = {columns["state"]: new.c.after}
        if version:
            update[version] = version + 1
        if subject.changed_at:
            update[columns[subject.changed_at]] = self.at
        unmoved = new.c.version.is_null() | (version == new.c.version) if version else True
        leaves = (columns["id"] == new.c.id) & (columns["state"] == new.c.before) & unmoved
        changed = model.update(update).from_(new).where(leaves).execute()
        if changed != len(changes):
            raise TransitionError(
                f"{len(changes) - changed} of {len(changes)} {subject.name}s changed in the meantime."
            )
        if subject.parts:
            _change_parts(subject.parts, subject.name, changes)

    def _note_creations(
        self, subject: Subject, rows: Sequence[Any], action: str, contents: Iterable[Mapping[str, Any]] | None
    ) -> None:
        self._events += [
            Event(subject.name, row.id, action, None, row.state, content)
            for row, content in zip(rows, contents or [{}] * len(rows), strict=True)
        ]

    def _close(self) -> None:
        """Write the events and tell the listeners, until nothing more has happened."""
        for _ in range(MOST_ROUNDS):
            if not self._events:
                return
            events, self._events = self._events, []
            AuditEvent.insert_set([_audited(event) for event in events], actor=self.actor, at=self.at)
            for listener in _listeners:
                listener(self, events)
        raise ListenerError(
            f"After {MOST_ROUNDS} rounds listeners still change something: {self._events[0]}."
        )


class _Audited(NamedTuple):
    object_type: str
    object_id: int
    action: str
    content: Mapping[str, Any]


def _audited(event: Event) -> _Audited:
    states: dict[str, str] = {}
    if event.before is not None and event.after is not None:
        states = {"before": name_of(event.before), "after": name_of(event.after)}
    elif event.after is not None:
        states = {"state": name_of(event.after)}
    return _Audited(event.subject, event.id, event.action, {**states, **event.content})


def _check_initial(subject: Subject, rows: Sequence[Any]) -> None:
    for row in rows:
        if row.state not in subject.initial:
            raise TransitionError(f"No {subject.name} begins as {name_of(row.state)}.")


def _change_parts(parts: type[Table], owner: str, changes: Sequence[Change]) -> None:
    columns = parts._meta.columns
    moved = [(change.id, change.after) for change in changes if change.after is not change.before]
    if moved:
        new = Arrays("change", {"owner": columns[f"{owner}_id"], "after": columns["state"]}, moved)
        update = parts.update({columns["state"]: new.c.after}).from_(new)
        update.where(columns[f"{owner}_id"] == new.c.owner).execute()


def name_of(state: State) -> str:
    """The state's name as operators know it."""
    return state.name.lower()
