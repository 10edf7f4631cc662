"""The values that the planner reads and makes. None of them knows a database or a clock."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

#: Units that may be taken, by sku and location's id.
Available = dict[str, dict[int, int]]


class LineToPlan(NamedTuple):
    """Units of a sku that an order's line asks for, at `price` each, in the order's currency."""

    order_item_id: int
    sku: str
    quantity: int
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ReplacedPackage:
    """The package whose lines are planned again: its state, since when it has waited, its fruitless attempts
    so far, and how long it may wait."""

    id: int
    state: IntEnum
    attempts: int
    cancel_after: datetime | None
    since: datetime


@dataclass(frozen=True, slots=True)
class OrderToPlan:
    """What the planner knows of an order. `plan_version` is the fence: the plan is for this version only.

    `attempt` is the number of this attempt, and `packages_before` how many packages the order has had.
    `excluded` are the locations that have rejected a sku of this order. `replaces` is the package whose lines
    are planned again, or None where the whole order is planned for the first time. Where a person has
    `released` the order with these lines, no rule holds it.
    """

    id: int
    plan_version: int
    facts: dict[str, str]
    lines: tuple[LineToPlan, ...]
    attempt: int = 1
    packages_before: int = 0
    excluded: Mapping[str, frozenset[int]] = field(default_factory=dict)
    replaces: ReplacedPackage | None = None
    released: bool = False

    @property
    def key(self) -> tuple[int, int | None]:
        """The order's id, and the id of the package that is planned again."""
        return self.id, self.replaces.id if self.replaces else None


@dataclass(frozen=True, slots=True)
class LocationToPlan:
    """What the planner knows of a location.

    `open_packages` are those that its people still have to pack; it takes another while there are fewer
    than `quota`, or any number where that is None.
    """

    id: int
    code: str
    type: str
    active: bool
    priority: int
    country: str | None = None
    state: str | None = None
    district: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    quota: int | None = None
    open_packages: int = 0


class PlannedTransfer(NamedTuple):
    """Lines that another location sends to the one that packs them."""

    source_id: int
    lines: list[LineToPlan]


class Parcel(NamedTuple):
    """Lines, or parts of them, that one location is to send; some of them have to be brought there first."""

    location_id: int
    lines: list[LineToPlan]
    transfers: list[PlannedTransfer]

    def everything(self) -> list[LineToPlan]:
        return [*self.lines, *(line for transfer in self.transfers for line in transfer.lines)]

    def demand(self) -> list[tuple[int, LineToPlan]]:
        """Each line with the location that it is taken from."""
        brought = [(transfer.source_id, line) for transfer in self.transfers for line in transfer.lines]
        return [*((self.location_id, line) for line in self.lines), *brought]


@dataclass(slots=True)
class Plan:
    """What is to become of an order, and why.

    With a `hold_reason` nothing is placed and a person has to look. `cancel_after_days` is how long the
    leftovers wait for stock before they are cancelled, or None for as long as it takes.
    """

    order: OrderToPlan
    parcels: list[Parcel]
    leftovers: list[LineToPlan]
    context: dict[str, Any]
    hold_reason: str | None = None
    cancel_after_days: int | None = None

    def demand(self) -> dict[tuple[str, int], int]:
        """Units to reserve, summed per sku and location over all lines."""
        wanted: defaultdict[tuple[str, int], int] = defaultdict(int)
        for parcel in self.parcels:
            for location_id, line in parcel.demand():
                wanted[line.sku, location_id] += line.quantity
        return wanted

    def end_of_wait(self, at: datetime) -> datetime | None:
        """When what is left is cancelled, if it waits from `at` on, or since the package that it replaces."""
        replaced = self.order.replaces
        if replaced is None:
            return end_of_wait(None, at, self.cancel_after_days)
        return end_of_wait(replaced.cancel_after, replaced.since, self.cancel_after_days)


@dataclass(slots=True)
class Offer:
    """What a location has of the skus that are left, and what the rule's ranking has compared of it."""

    location: LocationToPlan
    stock: dict[str, int]
    values: dict[str, float | None] = field(default_factory=dict)


class Offers(Protocol):
    """Offers by rank, which are made when they are asked for, and their locations, which are known."""

    @property
    def locations(self) -> Sequence[LocationToPlan]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Offer: ...


#: What a rule gives to each location that it uses, in the order in which it came to them.
Parts = list[tuple[Offer, list[LineToPlan]]]


def split(lines: Sequence[LineToPlan], stock: Mapping[str, int]) -> tuple[list[LineToPlan], list[LineToPlan]]:
    """What of the lines, in units, this stock can give, and what is left of them."""
    remaining = dict(stock)
    taken, left = [], []
    for line in lines:
        units = min(line.quantity, max(0, remaining.get(line.sku, 0)))
        if units == line.quantity:
            taken.append(line)
        else:
            left.append(line._replace(quantity=line.quantity - units))
            if units:
                taken.append(line._replace(quantity=units))
        if units:
            remaining[line.sku] -= units
    return taken, left


def wanted(lines: Sequence[LineToPlan]) -> dict[str, int]:
    """Units per sku, summed over all lines before anything is compared."""
    units: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        units[line.sku] += line.quantity
    return units


def value_of(lines: Sequence[LineToPlan]) -> Decimal:
    """What the lines are worth; a line without a price is worth nothing."""
    return sum(((line.price or Decimal(0)) * line.quantity for line in lines), Decimal(0))


def end_of_wait(said: datetime | None, since: datetime, days: int | None) -> datetime | None:
    """When a package that waits since then is cancelled; what was said first about it holds."""
    return said if said is not None or days is None else since + timedelta(days=days)
