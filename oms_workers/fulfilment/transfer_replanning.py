"""Transfers that are out of stock at their source, and the search for another one (task 5)."""

from datetime import datetime

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, execute, jsonb, row, rows, transaction
from oms_workers.fulfilment.commands.registry import Transfer, lock_transfer_by_id
from oms_workers.fulfilment.commands.transfers import demand_of, items_of, waits_for_transfer
from oms_workers.fulfilment.models import TransferState
from oms_workers.fulfilment.package_rows import next_ids
from oms_workers.fulfilment.states import Change, change_transfers
from oms_workers.fulfilment.transfer_sources import SOURCES, Choice, choose_source
from oms_workers.isolation import one_by_one
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.stock import NewReservation, lock_and_check, reserve
from oms_workers.scheduling.run import Run

RETRY_OUT_OF_STOCK_TRANSFERS = "oms.fulfilment.tasks.retry_out_of_stock_transfers"

#: Transfers that are looked up at once; each is planned in a transaction of its own.
BATCH = 500

#: How often a transfer may lose the stock of its next source to others before it waits for the next run.
MAX_LOSSES = 5


def replan_transfers(run: Run) -> dict[str, int]:
    """Give each transfer that is out of stock another source, one that was not tried for its package's items.

    Returns how many were replaced; those for which no location has everything stay as they are.
    """
    counts = {"looked_at": 0, "replaced": 0}
    last = 0
    while batch := _out_of_stock_after(last):
        for transfer_id in batch:
            counts["looked_at"] += 1
            counts["replaced"] += one_by_one(
                lambda: _find_another_source(transfer_id),  # noqa: B023
                f"Transfer {transfer_id} cannot be given another source",
            )
        last = batch[-1]
        if run.should_stop():
            break
    return counts


def _find_another_source(transfer_id: int) -> bool:
    with connection():
        for _ in range(MAX_LOSSES):
            replaced = _replan(transfer_id)
            if replaced is not None:
                return replaced
    return False


def _out_of_stock_after(last: int) -> list[int]:
    """Those that have a chance: some location that was not tried has every item of it."""
    # The index transfer_orders_open holds only what is not done.
    query = f"""
        SELECT transfer.id
        FROM transfer_orders AS transfer
        JOIN packages ON packages.id = transfer.package_id
        WHERE transfer.state = 920 AND transfer.id > %s AND packages.state IN (150, 300)
          AND EXISTS ({SOURCES})
        ORDER BY transfer.id
        LIMIT %s
    """
    with connection():
        return [transfer.id for transfer in rows(query, (last, BATCH))]


def _replan(transfer_id: int) -> bool | None:
    """Replace one transfer, in a transaction of its own; None where others took its next source's stock."""
    with transaction():
        transfer = lock_transfer_by_id(transfer_id)
        if transfer.state is not TransferState.OUT_OF_STOCK or not waits_for_transfer(transfer.package):
            return False
        choice = choose_source(transfer)
        if choice is None:
            return False
        if lock_and_check([demand_of(transfer, choice.location_id)]) != [True]:
            return None
        at = database_now()
        _trace(transfer, choice, at)
        _replace(transfer, choice.location_id, at)
        return True


def _trace(transfer: Transfer, choice: Choice, at: datetime) -> None:
    """Keep why this source was chosen, as one more attempt at the transfer's package."""
    execute(
        """
        INSERT INTO order_execution_plans (order_id, attempt, package_id, state, context, created_at)
        SELECT %(order)s, coalesce(max(attempt), 0) + 1, %(package)s, 'completed', %(context)s, %(at)s
        FROM order_execution_plans
        WHERE order_id = %(order)s
        """,
        {
            "order": transfer.package.order_id,
            "package": transfer.package.id,
            "context": jsonb(choice.context),
            "at": at,
        },
    )


def _replace(transfer: Transfer, source_id: int, at: datetime) -> None:
    """A new transfer of the same items from this source, for which the stock is locked; the old one ends."""
    (new_id,) = next_ids("transfer_orders", 1)
    count = row("SELECT count(*) AS n FROM transfer_orders WHERE package_id = %s", (transfer.package.id,))
    number = f"T{transfer.package.number.removeprefix('P')}-{(count.n if count else 0) + 1}"
    execute(
        """
        INSERT INTO transfer_orders
            (id, number, package_id, source_id, destination_id, state, created_at, changed_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            new_id,
            number,
            transfer.package.id,
            source_id,
            transfer.destination_id,
            TransferState.WAITING.value,
            at,
            at,
        ),
    )
    items = [item for _, item in items_of(transfer)]
    ids = next_ids("transfer_items", len(items))
    for id_, item in zip(ids, items, strict=True):
        execute(
            """
            INSERT INTO transfer_items (id, transfer_id, package_item_id, sku, quantity)
            VALUES (%s, %s, %s, %s, %s)
            """,
            (id_, new_id, item.id, item.sku, item.quantity),
        )
    reserve(
        [
            NewReservation(
                item.sku, source_id, item.quantity, transfer_item_id=id_, kind=ReservationKind.TRANSFER
            )
            for id_, item in zip(ids, items, strict=True)
        ],
        reason=RETRY_OUT_OF_STOCK_TRANSFERS,
        at=at,
    )
    actor = RETRY_OUT_OF_STOCK_TRANSFERS
    record([Event("transfer", new_id, "created", {"package": transfer.package.number})], actor=actor, at=at)
    superseded = Change(
        transfer.id, transfer.state, TransferState.CANCELLED, "superseded", {"transfer": number}
    )
    change_transfers([superseded], actor=actor, at=at)
