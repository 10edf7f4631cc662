"""Packages and transfers as subjects of the one door: which of their states may follow which.

waiting ─▶ preparing ─▶ ready_for_packaging ─▶ packed ─▶ shipped ─▶ … ─▶ delivered
   │           │               │                  └─▶ cancellation_waiting ─▶ cancelled
   └───────────┴───────────────┴─▶ needs_replan, out_of_stock, defective_product, unavailable ─▶ cancelled
"""

from oms_workers.audit_events.door import Subject
from oms_workers.packages.models import (
    OPEN_STATES,
    UNPLANNED_STATES,
    Package,
    PackageItem,
    PackageState,
    TransferOrder,
    TransferState,
)

P, T = PackageState, TransferState

_UNPLANNED = frozenset(UNPLANNED_STATES)

#: The states after `packed` are for shipments and cancellations.
PACKAGE = Subject(
    name="package",
    model=Package,
    initial=frozenset({P.WAITING, P.WAITING_FOR_TRANSFER, P.OUT_OF_STOCK}),
    transitions={
        P.WAITING: _UNPLANNED | {P.PREPARING, P.BLOCKED, P.PACKED, P.CANCELLED},
        P.WAITING_FOR_TRANSFER: _UNPLANNED | {P.WAITING, P.BLOCKED, P.CANCELLED},
        P.PREPARING: _UNPLANNED | {P.READY_FOR_PACKAGING, P.BLOCKED, P.PACKED, P.CANCELLED},
        P.BLOCKED: frozenset({*OPEN_STATES, P.CANCELLED}),
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
    },
    parts=PackageItem,
)

TRANSFER = Subject(
    name="transfer",
    model=TransferOrder,
    initial=frozenset({T.WAITING}),
    transitions={
        T.WAITING: frozenset({T.READY_FOR_SHIPMENT, T.IN_TRANSIT, T.OUT_OF_STOCK, T.CANCELLED}),
        T.READY_FOR_SHIPMENT: frozenset({T.IN_TRANSIT, T.OUT_OF_STOCK, T.CANCELLED}),
        T.IN_TRANSIT: frozenset({T.COMPLETED, T.OUT_OF_STOCK, T.CANCELLED}),
        T.COMPLETED: frozenset(),
        T.OUT_OF_STOCK: frozenset({T.CANCELLED}),
        T.CANCELLED: frozenset(),
    },
)
