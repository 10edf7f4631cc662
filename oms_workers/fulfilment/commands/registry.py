"""Commands: what operators, the warehouse and tasks do to packages and transfers, one registry for all.

A command is a checked transition with its audit events, in one transaction. Whoever comes second, or to a
package in another state than the command is for, gets an error that names both, and nothing is changed.
Rooms above this one add theirs with `@command(...)`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import settings
from oms_workers.database import connection, database_now, retry_transient, row, rows, transaction
from oms_workers.errors import ArgumentError, OmsError
from oms_workers.fulfilment.models import PackageState, TransferState
from oms_workers.fulfilment.states import name_of
from oms_workers.reservations.discrepancies import Meaning


class Subject(StrEnum):
    """What a command is for."""

    PACKAGE = "package"
    TRANSFER = "transfer"


class UnknownCommandError(ArgumentError):
    """No command has this name."""


class UnknownPackageError(OmsError):
    """No package or transfer has this number."""


class WrongStateError(OmsError):
    """The command is not for the state that the package or transfer is in."""


class Item(NamedTuple):
    """A row of `package_items`."""

    id: int
    order_item_id: int
    sku: str
    quantity: int


@dataclass(frozen=True)
class Package:
    """A package whose row, and whose order's row, are locked until the transaction ends."""

    id: int
    number: str
    order_id: int
    plan_id: int
    location_id: int
    state: PackageState
    version: int
    blocked_from: int | None
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Transfer:
    """A transfer whose row, and whose package's row, are locked until the transaction ends."""

    id: int
    number: str
    source_id: int
    destination_id: int
    state: TransferState
    package: Package


@dataclass(frozen=True)
class Request:
    """What was given with a command.

    `missing` are units by sku, where a command is about some of them; `meaning` is what the rejection says
    about the stock, or None for the command's own default. `version` is the package's version that the
    caller has seen: with it, a command that is said twice, or by two, is done once.
    """

    missing: Mapping[str, int] = field(default_factory=dict)
    meaning: Meaning | None = None
    reason: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class Circumstances:
    """Who does it, when, and what the configuration says about its consequences."""

    actor: str
    at: datetime
    exclusion: timedelta
    discrepancy_lifetime: timedelta


Perform = Callable[[Any, Request, Circumstances], None]


@dataclass(frozen=True)
class Command:
    """A command, the states that it is for, and what it does in them."""

    name: str
    subject: Subject
    states: tuple[IntEnum, ...]
    perform: Perform

    @property
    def summary(self) -> str:
        """The first line of what its function says of itself."""
        return (self.perform.__doc__ or "").partition("\n")[0]


_commands: dict[str, Command] = {}


def command(name: str, *states: IntEnum) -> Callable[[Perform], Perform]:
    """Register a function as the command `name` for packages, or for transfers, in these states."""
    subject = Subject.PACKAGE if isinstance(states[0], PackageState) else Subject.TRANSFER

    def register(perform: Perform) -> Perform:
        _commands[name] = Command(name, subject, states, perform)
        return perform

    return register


def commands() -> list[Command]:
    """All commands, in the order in which they were registered."""
    return [*_commands.values()]


def run_command(number: str, name: str, request: Request | None = None, *, actor: str) -> str:
    """Run a command on the package or transfer that has this number; returns the state that it is in then.

    Raises `UnknownCommandError`, `UnknownPackageError` or `WrongStateError`, each naming the way out, and
    whatever the command itself raises; then nothing has changed.
    """
    if name not in _commands:
        known = ", ".join(sorted(_commands))
        raise UnknownCommandError(f"No command is called {name!r}. There are: {known}.")
    chosen = _commands[name]
    with connection():
        return retry_transient(lambda: _run(chosen, number, request or Request(), actor))


def circumstances_of(actor: str, at: datetime) -> Circumstances:
    """What this process is configured to make of a command or a task."""
    configuration = settings.current()
    return Circumstances(
        actor,
        at,
        timedelta(seconds=configuration.location_exclusion_seconds),
        timedelta(seconds=configuration.inventory_discrepancy_expiry_seconds),
    )


def _run(chosen: Command, number: str, request: Request, actor: str) -> str:
    with transaction():
        subject = _lock(chosen, number)
        if subject.state not in chosen.states:
            wanted = " or ".join(name_of(state) for state in chosen.states)
            raise WrongStateError(
                f"{chosen.name} is for a {chosen.subject} that is {wanted}, and {number} is"
                f" {name_of(subject.state)}; see `oms explain` for its order."
            )
        package = subject if isinstance(subject, Package) else subject.package
        if request.version not in (None, package.version):
            raise WrongStateError(
                f"{chosen.name} was meant for version {request.version} of {package.number}, which has the"
                f" version {package.version} by now; look at it again."
            )
        chosen.perform(subject, request, circumstances_of(actor, database_now()))
        table = "packages" if chosen.subject is Subject.PACKAGE else "transfer_orders"
        ((state,),) = rows(f"SELECT state FROM {table} WHERE id = %s", (subject.id,))
        return name_of(type(chosen.states[0])(state))


def _lock(chosen: Command, number: str) -> Package | Transfer:
    if chosen.subject is Subject.PACKAGE:
        return lock_package(number)
    found = row("SELECT id FROM transfer_orders WHERE number = %s", (number,))
    if found is None:
        raise UnknownPackageError(
            f"{chosen.name} is for transfers, and no transfer has the number {number!r}."
        )
    return lock_transfer_by_id(found.id)


def lock_transfer_by_id(id_: int) -> Transfer:
    """The transfer with this id, its package's order, its package and itself locked, in this order."""
    found = row("SELECT package_id FROM transfer_orders WHERE id = %s", (id_,))
    assert found is not None, "transfers are never deleted"
    package = lock_package_by_id(found.package_id)
    transfer = row(
        """
        SELECT id, number, source_id, destination_id, state
        FROM transfer_orders
        WHERE id = %s
        FOR NO KEY UPDATE
        """,
        (id_,),
    )
    assert transfer is not None
    return Transfer(
        transfer.id,
        transfer.number,
        transfer.source_id,
        transfer.destination_id,
        TransferState(transfer.state),
        package,
    )


def lock_package(number: str) -> Package:
    """The package with this number, its order and itself locked. Raises `UnknownPackageError`."""
    found = row("SELECT id FROM packages WHERE number = %s", (number,))
    if found is None:
        raise UnknownPackageError(
            f"No package has the number {number!r}; `oms explain ORDER` lists an order's."
        )
    return lock_package_by_id(found.id)


def lock_package_by_id(id_: int) -> Package:
    """The package with this id, its order and itself locked, in this order."""
    row(
        """
        SELECT id FROM orders WHERE id = (SELECT order_id FROM packages WHERE id = %s)
        FOR NO KEY UPDATE
        """,
        (id_,),
    )
    package = row(
        """
        SELECT id, number, order_id, plan_id, location_id, state, version, blocked_from
        FROM packages
        WHERE id = %s
        FOR NO KEY UPDATE
        """,
        (id_,),
    )
    assert package is not None, "packages are never deleted"
    items = rows(
        "SELECT id, order_item_id, sku, quantity FROM package_items WHERE package_id = %s ORDER BY id", (id_,)
    )
    columns = package._asdict()
    return Package(
        **{**columns, "state": PackageState(columns["state"]), "items": tuple(Item(*item) for item in items)}
    )
