"""The states of packages and transfers, which may follow which, and the one way to change them.

waiting ─▶ preparing ─▶ ready_for_packaging ─▶ packed ─▶ shipped ─▶ … ─▶ delivered
   │           │               │                  └─▶ cancellation_waiting ─▶ cancelled
   └───────────┴───────────────┴─▶ needs_replan, out_of_stock, defective_product, unavailable ─▶ cancelled
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple

from oms_workers.audit_events.record import Event, record
from oms_workers.database import execute
from oms_workers.errors import OmsError
from oms_workers.fulfilment.models import PackageState, TransferState

P, T = PackageState, TransferState

_UNPLANNED = frozenset({P.NEEDS_REPLAN, P.OUT_OF_STOCK, P.DEFECTIVE_PRODUCT, P.UNAVAILABLE})
_OPEN = frozenset({P.WAITING, P.WAITING_FOR_TRANSFER, P.PREPARING, P.READY_FOR_PACKAGING})

#: For each state of a package those that may follow it. The later ones are for shipments and cancellations.
PACKAGE_TRANSITIONS: Mapping[PackageState, frozenset[PackageState]] = {
    P.WAITING: _UNPLANNED | {P.PREPARING, P.BLOCKED, P.PACKED, P.CANCELLED},
    P.WAITING_FOR_TRANSFER: _UNPLANNED | {P.WAITING, P.BLOCKED, P.CANCELLED},
    P.PREPARING: _UNPLANNED | {P.READY_FOR_PACKAGING, P.BLOCKED, P.PACKED, P.CANCELLED},
    P.BLOCKED: _OPEN | {P.CANCELLED},
    P.READY_FOR_PACKAGING: _UNPLANNED | {P.BLOCKED, P.PACKED, P.CANCELLED},
    P.PACKED: frozenset({P.SHIPPED, P.CANCELLATION_WAITING}),
    P.SHIPPED: frozenset({P.READY_FOR_PICKUP, P.ATTEMPTED_DELIVERY, P.DELIVERY_FAILED, P.DELIVERED}),
    P.READY_FOR_PICKUP: frozenset({P.ATTEMPTED_DELIVERY, P.DELIVERY_FAILED, P.DELIVERED}),
    P.ATTEMPTED_DELIVERY: frozenset({P.READY_FOR_PICKUP, P.DELIVERY_FAILED, P.DELIVERED}),
    P.DELIVERY_FAILED: frozenset({P.ATTEMPTED_DELIVERY, P.READY_FOR_PICKUP, P.DELIVERED}),
    P.DELIVERED: frozenset(),
    P.NEEDS_REPLAN: frozenset({P.UNAVAILABLE, P.CANCELLED}),
    P.OUT_OF_STOCK: frozenset({P.UNAVAILABLE, P.CANCELLED}),
    P.DEFECTIVE_PRODUCT: frozenset({P.UNAVAILABLE, P.CANCELLED}),
    P.UNAVAILABLE: frozenset({P.CANCELLED}),
    P.CANCELLED: frozenset(),
    P.CANCELLATION_WAITING: frozenset({P.CANCELLED, P.SHIPPED}),
    P.PACKED_FOR_REFUND: frozenset(),
}

TRANSFER_TRANSITIONS: Mapping[TransferState, frozenset[TransferState]] = {
    T.WAITING: frozenset({T.READY_FOR_SHIPMENT, T.IN_TRANSIT, T.OUT_OF_STOCK, T.CANCELLED}),
    T.READY_FOR_SHIPMENT: frozenset({T.IN_TRANSIT, T.OUT_OF_STOCK, T.CANCELLED}),
    T.IN_TRANSIT: frozenset({T.COMPLETED, T.OUT_OF_STOCK, T.CANCELLED}),
    T.COMPLETED: frozenset(),
    T.OUT_OF_STOCK: frozenset({T.CANCELLED}),
    T.CANCELLED: frozenset(),
}


class TransitionError(OmsError):
    """A state does not follow another, or is no longer what it was."""


class Change(NamedTuple):
    """A package or a transfer that goes from one state to another, by its id, and what led to it."""

    id: int
    before: IntEnum
    after: IntEnum
    action: str
    content: Mapping[str, Any] = {}


def change_packages(changes: Sequence[Change], *, actor: str, at: datetime) -> None:
    """Change packages, whose rows the caller has locked, and the items that are in them.

    Raises `TransitionError`, and changes nothing, where one of them is not in the state that it leaves, or
    the state that it enters does not follow.
    """
    _change("package", "packages", PACKAGE_TRANSITIONS, changes, actor, at)
    execute(
        """
        UPDATE package_items
        SET state = changed.state
        FROM unnest(%s::bigint[], %s::int[]) AS changed (package_id, state)
        WHERE package_items.package_id = changed.package_id
        """,
        ([change.id for change in changes], [int(change.after) for change in changes]),
    )


def change_transfers(changes: Sequence[Change], *, actor: str, at: datetime) -> None:
    """Change transfers, whose packages' rows the caller has locked. Raises like `change_packages`."""
    _change("transfer", "transfer_orders", TRANSFER_TRANSITIONS, changes, actor, at)


def _change(
    kind: str,
    table: str,
    transitions: Mapping[Any, frozenset[Any]],
    changes: Sequence[Change],
    actor: str,
    at: datetime,
) -> None:
    for change in changes:
        if change.after not in transitions[change.before]:
            before, after = name_of(change.before), name_of(change.after)
            raise TransitionError(f"The {kind} {change.id} cannot go from {before} to {after}.")
    changed = execute(
        f"""
        UPDATE {table}
        SET state = change.after, version = version + 1, changed_at = %s
        FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS change (id, before, after)
        WHERE {table}.id = change.id AND {table}.state = change.before
        """,
        (
            at,
            [change.id for change in changes],
            [int(change.before) for change in changes],
            [int(change.after) for change in changes],
        ),
    )
    if changed != len(changes):
        raise TransitionError(f"{len(changes) - changed} of {len(changes)} {table} changed in the meantime.")
    record(
        [
            Event(
                kind,
                change.id,
                change.action,
                {"before": name_of(change.before), "after": name_of(change.after), **change.content},
            )
            for change in changes
        ],
        actor=actor,
        at=at,
    )


def name_of(state: IntEnum) -> str:
    """The state's name as operators know it."""
    return state.name.lower()
