"""Commands: what operators, the warehouse and tasks do to packages and transfers, one registry for all.

A command is a checked transition with its audit events, in one transaction. A package or transfer in another
state than the command is for gets an error that names both states, and nothing is changed.

Rooms above this one add theirs:

    @command("ADD_SHIPMENT", PackageState.PACKED)
    def add_shipment(package: LockedPackage, request: Request, circumstances: Circumstances) -> None:
        \"\"\"Its first line is what `oms command` shows.\"\"\"

Every command keeps the request's reason and heeds its version. What else it heeds it says by `takes`. A
request that holds more is refused, since its caller means something that would not happen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from oms_workers.audit_events.door import name_of
from oms_workers.database import connection, database_now, retry_transient, transaction
from oms_workers.errors import ArgumentError, OmsError
from oms_workers.packages.circumstances import Circumstances, acting
from oms_workers.packages.locked import (
    LockedPackage,
    LockedTransfer,
    UnknownPackageError,
    lock_package,
    lock_transfer,
)
from oms_workers.packages.models import Package, PackageState, TransferOrder
from oms_workers.reservations.models import Meaning
from oms_workers.sets import column


class CommandSubject(StrEnum):
    """What a command is for."""

    PACKAGE = "package"
    TRANSFER = "transfer"


class Option(StrEnum):
    """What of a request only some commands heed, by its name on the command line."""

    MISSING = "--missing"
    STOCK = "--stock"


class UnknownCommandError(ArgumentError):
    """No command has this name."""


class DoubleCommandError(OmsError):
    """Two functions are registered as one command."""


class UnusedOptionError(ArgumentError):
    """The request holds something that the command would not heed."""


class WrongStateError(OmsError):
    """The command is not for the state that the package or transfer is in."""


@dataclass(frozen=True)
class Request:
    """What was given with a command.

    `missing` are units by sku, where a command is about some of them. `meaning` is what the rejection says
    about the stock, or None for the command's own default. `version` is the package's version that the caller
    has seen: with it, repeating a command has no effect.
    """

    missing: Mapping[str, int] = field(default_factory=dict)
    meaning: Meaning | None = None
    reason: str | None = None
    version: int | None = None

    @property
    def options(self) -> tuple[Option, ...]:
        """What it holds of that which only some commands heed."""
        given = {Option.MISSING: bool(self.missing), Option.STOCK: self.meaning is not None}
        return tuple(option for option in Option if given[option])


Perform = Callable[[Any, Request, Circumstances], None]


@dataclass(frozen=True)
class Command:
    """A command, the states that it is for, what it does in them, and which options it takes."""

    name: str
    subject: CommandSubject
    states: tuple[IntEnum, ...]
    perform: Perform
    takes: tuple[Option, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of its function's docstring."""
        return (self.perform.__doc__ or "").partition("\n")[0]


_commands: dict[str, Command] = {}


def command(name: str, *states: IntEnum, takes: tuple[Option, ...] = ()) -> Callable[[Perform], Perform]:
    """Register a function as the command `name` for packages, or for transfers, in these states.

    `takes` are the options that it heeds. Raises `DoubleCommandError` where the name is taken.
    """
    subject = CommandSubject.PACKAGE if isinstance(states[0], PackageState) else CommandSubject.TRANSFER

    def register(perform: Perform) -> Perform:
        if name in _commands:
            raise DoubleCommandError(f"The command {name} is registered twice; give one another name.")
        _commands[name] = Command(name, subject, states, perform, takes)
        return perform

    return register


def commands() -> list[Command]:
    """All commands, in the order in which they were registered."""
    return [*_commands.values()]


def run_command(number: str, name: str, request: Request | None = None, *, actor: str) -> str:
    """Run a command on the package or transfer that has this number; returns the state that it is in then.

    Raises `UnknownCommandError`, `UnusedOptionError`, `UnknownPackageError` or `WrongStateError`, each naming
    the way out, and whatever the command itself raises; then nothing has changed.
    """
    if name not in _commands:
        known = ", ".join(sorted(_commands))
        raise UnknownCommandError(f"No command is called {name!r}. There are: {known}.")
    chosen, given = _commands[name], request or Request()
    _check_options(chosen, given)
    with connection():
        return retry_transient(lambda: _run(chosen, number, given, actor))


def _check_options(chosen: Command, request: Request) -> None:
    for option in request.options:
        if option not in chosen.takes:
            others = ", ".join(each.name for each in commands() if option in each.takes)
            raise UnusedOptionError(
                f"{chosen.name} does not take {option.value}, and nothing was done. These do: {others}."
            )


def _run(chosen: Command, number: str, request: Request, actor: str) -> str:
    with transaction():
        subject = _lock(chosen, number)
        _check(chosen, subject, request)
        with acting(actor, database_now()) as circumstances:
            chosen.perform(subject, request, circumstances)
        model = Package if chosen.subject is CommandSubject.PACKAGE else TransferOrder
        (state,) = column(model.select(model.state).where(model.id == subject.id))
        return name_of(state)


def _lock(chosen: Command, number: str) -> LockedPackage | LockedTransfer:
    if chosen.subject is CommandSubject.PACKAGE:
        return lock_package(number)
    try:
        return lock_transfer(number)
    except UnknownPackageError as error:
        raise UnknownPackageError(f"{chosen.name} is for transfers. {error}") from None


def _check(chosen: Command, subject: LockedPackage | LockedTransfer, request: Request) -> None:
    """Raise `WrongStateError` where the command is not for this state, or meant for another version."""
    if subject.state not in chosen.states:
        wanted = " or ".join(name_of(state) for state in chosen.states)
        raise WrongStateError(
            f"{chosen.name} is for a {chosen.subject} that is {wanted}, and {subject.number} is"
            f" {name_of(subject.state)}; see `oms explain` for its order."
        )
    package = subject if isinstance(subject, LockedPackage) else subject.package
    if request.version not in (None, package.version):
        raise WrongStateError(
            f"{chosen.name} was meant for version {request.version} of {package.number}, which has the"
            f" version {package.version} by now; look at it again."
        )
