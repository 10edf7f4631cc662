"""The rows that plans become: packages, their items, the transfers they wait for, and reservations.

Ids are taken in advance, so that rows may refer to one another and each table is one statement.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from oms_workers.database import execute, rows
from oms_workers.fulfilment.models import PackageState, TransferState
from oms_workers.fulfilment.planning.plans import Line, Parcel, Plan
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.stock import NewReservation, reserve


class NewPackage(NamedTuple):
    """A row of `packages`."""

    id: int
    number: str
    order_id: int
    plan_id: int
    location_id: int
    state: int
    replan_attempts: int
    cancel_after: datetime | None
    replanned_at: datetime | None


class _Item(NamedTuple):
    id: int
    package_id: int
    order_item_id: int
    sku: str
    quantity: int
    state: int


class _Transfer(NamedTuple):
    id: int
    number: str
    package_id: int
    source_id: int
    destination_id: int


class _TransferItem(NamedTuple):
    id: int
    transfer_id: int
    package_item_id: int
    sku: str
    quantity: int


class PackageRows:
    """What is to be written for these plans, whose own rows have the ids `plan_ids`."""

    def __init__(
        self, plans: list[Plan], plan_ids: list[int], default_location_id: int, at: datetime
    ) -> None:
        self.packages: list[NewPackage] = []
        self.items: list[_Item] = []
        self.transfers: list[_Transfer] = []
        self.transfer_items: list[_TransferItem] = []
        self.reservations: list[NewReservation] = []
        self._take_ids(plans)
        numbers = {plan.order.id: plan.order.packages_before for plan in plans}
        for plan, plan_id in zip(plans, plan_ids, strict=True):
            if plan.hold_reason is not None:
                continue
            for parcel, state in _parcels_of(plan, default_location_id):
                numbers[plan.order.id] += 1
                self._add(plan, plan_id, numbers[plan.order.id], parcel, state, at)

    def insert(self, *, reason: str, at: datetime) -> None:
        """Write everything, in the caller's transaction, in which the stock is locked."""
        _insert_packages(self.packages, at)
        _insert("package_items", _Item, self.items)
        _insert_transfers(self.transfers, at)
        _insert("transfer_items", _TransferItem, self.transfer_items)
        reserve(self.reservations, reason=reason, at=at)

    def _take_ids(self, plans: list[Plan]) -> None:
        placed = [plan for plan in plans if plan.hold_reason is None]
        parcels = [parcel for plan in placed for parcel in plan.parcels]
        transfers = [transfer for parcel in parcels for transfer in parcel.transfers]
        lines = sum(len(parcel.everything()) for parcel in parcels) + sum(
            len(plan.leftovers) for plan in placed
        )
        self._package_ids = iter(next_ids("packages", len(parcels) + len(placed)))
        self._item_ids = iter(next_ids("package_items", lines))
        self._transfer_ids = iter(next_ids("transfer_orders", len(transfers)))
        self._transfer_item_ids = iter(
            next_ids("transfer_items", sum(len(transfer.lines) for transfer in transfers))
        )

    def _add(
        self, plan: Plan, plan_id: int, number: int, parcel: Parcel, state: PackageState, at: datetime
    ) -> None:
        order, package_id = plan.order, next(self._package_ids)
        waits = state is PackageState.OUT_OF_STOCK
        self.packages.append(
            NewPackage(
                package_id,
                f"P{order.id}-{number}",
                order.id,
                plan_id,
                parcel.location_id,
                state,
                order.replan_attempts if waits else 0,
                _cancel_after(plan, at) if waits else None,
                at if waits and order.replaces is not None else None,
            )
        )
        for line in _merged(parcel.lines):
            item_id = self._add_item(package_id, line, state)
            if not waits:
                reserved = NewReservation(line.sku, parcel.location_id, line.quantity, item_id)
                self.reservations.append(reserved)
        for position, (source_id, lines) in enumerate(parcel.transfers, start=1):
            transfer_id = next(self._transfer_ids)
            transfer_number = f"T{order.id}-{number}-{position}"
            self.transfers.append(
                _Transfer(transfer_id, transfer_number, package_id, source_id, parcel.location_id)
            )
            for line in _merged(lines):
                self._add_transfer_item(transfer_id, source_id, line, self._add_item(package_id, line, state))

    def _add_item(self, package_id: int, line: Line, state: PackageState) -> int:
        item_id = next(self._item_ids)
        self.items.append(_Item(item_id, package_id, line.order_item_id, line.sku, line.quantity, state))
        return item_id

    def _add_transfer_item(self, transfer_id: int, source_id: int, line: Line, item_id: int) -> None:
        id_ = next(self._transfer_item_ids)
        self.transfer_items.append(_TransferItem(id_, transfer_id, item_id, line.sku, line.quantity))
        self.reservations.append(
            NewReservation(
                line.sku,
                source_id,
                line.quantity,
                transfer_item_id=id_,
                kind=ReservationKind.TRANSFER,
            )
        )


def _parcels_of(plan: Plan, default_location_id: int) -> Iterator[tuple[Parcel, PackageState]]:
    for parcel in plan.parcels:
        state = PackageState.WAITING_FOR_TRANSFER if parcel.transfers else PackageState.WAITING
        yield parcel, state
    if plan.leftovers:
        yield Parcel(default_location_id, plan.leftovers, []), PackageState.OUT_OF_STOCK


def _merged(lines: Sequence[Line]) -> Sequence[Line]:
    """One entry for each line of the order: two rules may have given parts of one to the same location."""
    if len({line.order_item_id for line in lines}) == len(lines):
        return lines
    merged: dict[int, Line] = {}
    for line in lines:
        before = merged.get(line.order_item_id)
        merged[line.order_item_id] = (
            line if before is None else line._replace(quantity=before.quantity + line.quantity)
        )
    return [*merged.values()]


def _cancel_after(plan: Plan, at: datetime) -> datetime | None:
    """When the leftovers stop waiting: what was said first holds over later attempts."""
    if plan.order.cancel_after is not None or plan.cancel_after_days is None:
        return plan.order.cancel_after
    return at + timedelta(days=plan.cancel_after_days)


def next_ids(table: str, count: int) -> list[int]:
    """So many new ids of a table."""
    if count == 0:
        return []
    found = rows("SELECT nextval(%s) FROM generate_series(1, %s)", (f"{table}_id_seq", count))
    return [id_ for (id_,) in found]


def _insert_packages(packages: list[NewPackage], at: datetime) -> None:
    if packages:
        execute(
            """
            INSERT INTO packages (id, number, order_id, plan_id, location_id, state, replan_attempts,
                                  cancel_after, replanned_at, created_at, changed_at)
            SELECT new.*, %s, %s
            FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[],
                        %s::int[], %s::timestamptz[], %s::timestamptz[]) AS new
            """,
            (at, at, *_columns(packages)),
        )


def _insert_transfers(transfers: list[_Transfer], at: datetime) -> None:
    if transfers:
        execute(
            """
            INSERT INTO transfer_orders (id, number, package_id, source_id, destination_id, state, created_at,
                                         changed_at)
            SELECT new.*, %s, %s, %s
            FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new
            """,
            (TransferState.WAITING.value, at, at, *_columns(transfers)),
        )


def _insert(table: str, kind: type[Any], new: Sequence[tuple[Any, ...]]) -> None:
    if new:
        arrays = ", ".join("%s::text[]" if name == "sku" else "%s::bigint[]" for name in kind._fields)
        execute(
            f"INSERT INTO {table} ({', '.join(kind._fields)}) SELECT new.* FROM unnest({arrays}) AS new",
            _columns(new),
        )


def _columns(tuples: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*tuples, strict=True)]
