"""Transfers that are out of stock at their source, and the search for another one (task 5)."""

from datetime import datetime

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, execute, row, rows, transaction
from oms_workers.fulfilment.commands.registry import Transfer, lock_package_by_id
from oms_workers.fulfilment.commands.transfers import demand_of, items_of, waits_for_transfer
from oms_workers.fulfilment.isolation import one_by_one
from oms_workers.fulfilment.loading import active_scenarios
from oms_workers.fulfilment.models import TransferState
from oms_workers.fulfilment.package_rows import next_ids
from oms_workers.fulfilment.snapshot import allowed_locations
from oms_workers.fulfilment.states import Change, change_transfers
from oms_workers.reservations.models import ReservationKind
from oms_workers.reservations.stock import NewReservation, lock_and_check, reserve
from oms_workers.scheduling.run import Run

RETRY_OUT_OF_STOCK_TRANSFERS = "oms.fulfilment.tasks.retry_out_of_stock_transfers"

#: Transfers that are looked up at once; each is planned in a transaction of its own.
BATCH = 500

#: How often a transfer may lose the stock of its next source to others before it waits for the next run.
MAX_LOSSES = 5

#: The locations that could send a `transfer`: active, not its destination, never tried, with all its items.
SOURCES = """
    SELECT locations.id
    FROM locations
    WHERE locations.active
      AND locations.id <> transfer.destination_id
      AND locations.id NOT IN (
          SELECT tried.source_id
          FROM transfer_orders AS tried
          JOIN transfer_items AS tried_item ON tried_item.transfer_id = tried.id
          JOIN transfer_items AS own ON own.package_item_id = tried_item.package_item_id
          WHERE own.transfer_id = transfer.id
      )
      AND NOT EXISTS (
          SELECT FROM excluded_locations AS excluded
          JOIN package_items USING (order_item_id)
          JOIN transfer_items AS own ON own.package_item_id = package_items.id
          WHERE own.transfer_id = transfer.id AND excluded.location_id = locations.id
            AND excluded.until > now()
      )
      AND NOT EXISTS (
          SELECT FROM (
              SELECT sku, sum(quantity) AS units
              FROM transfer_items
              WHERE transfer_id = transfer.id
              GROUP BY sku
          ) AS needed
          LEFT JOIN stock ON stock.sku = needed.sku AND stock.location_id = locations.id
          WHERE coalesce(on_hand - reserved - safety, 0) < needed.units
      )
    ORDER BY locations.priority, locations.id
"""


def replan_transfers(run: Run) -> dict[str, int]:
    """Give each transfer that is out of stock another source, one that was not tried for its package's items.

    Returns how many were replaced; those for which no location has everything stay as they are.
    """
    counts = {"looked_at": 0, "replaced": 0}
    last = 0
    while batch := _out_of_stock_after(last):
        for transfer_id, package_id in batch:
            counts["looked_at"] += 1
            counts["replaced"] += one_by_one(
                lambda: _find_another_source(transfer_id, package_id),  # noqa: B023
                f"Transfer {transfer_id} cannot be given another source",
            )
        last = batch[-1][0]
        if run.should_stop():
            break
    return counts


def _find_another_source(transfer_id: int, package_id: int) -> bool:
    with connection():
        for _ in range(MAX_LOSSES):
            replaced = _replan(transfer_id, package_id)
            if replaced is not None:
                return replaced
    return False


def _out_of_stock_after(last: int) -> list[tuple[int, int]]:
    """Those that have a chance: some location that was not tried has every item of it."""
    # The index transfer_orders_open holds only what is not done.
    query = f"""
        SELECT transfer.id, transfer.package_id
        FROM transfer_orders AS transfer
        JOIN packages ON packages.id = transfer.package_id
        WHERE transfer.state = 920 AND transfer.id > %s AND packages.state IN (150, 300)
          AND EXISTS ({SOURCES})
        ORDER BY transfer.id
        LIMIT %s
    """
    with connection():
        return [(found.id, found.package_id) for found in rows(query, (last, BATCH))]


def _replan(transfer_id: int, package_id: int) -> bool | None:
    """Replace one transfer, in a transaction of its own; None where others took its next source's stock."""
    with transaction():
        package = lock_package_by_id(package_id)
        found = row(
            """
            SELECT id, number, source_id, destination_id, state
            FROM transfer_orders
            WHERE id = %s
            FOR NO KEY UPDATE
            """,
            (transfer_id,),
        )
        if found is None or found.state != TransferState.OUT_OF_STOCK or not waits_for_transfer(package):
            return False
        source = row(
            f"""
            SELECT source.id
            FROM transfer_orders AS transfer, LATERAL ({SOURCES}) AS source
            WHERE transfer.id = %(id)s
              AND (%(allowed)s::bigint[] IS NULL OR source.id = ANY(%(allowed)s))
            LIMIT 1
            """,
            {"id": transfer_id, "allowed": _allowed_sources(package.plan_id)},
        )
        if source is None:
            return False
        state = TransferState(found.state)
        transfer = Transfer(found.id, found.number, found.source_id, found.destination_id, state, package)
        if lock_and_check([demand_of(transfer, source.id)]) != [True]:
            return None
        _replace(transfer, source.id, database_now())
        return True


def _allowed_sources(plan_id: int) -> list[int] | None:
    """The locations from which the rule that asked for the transfer brings things; None if it is gone."""
    plan = row(
        """
        SELECT context, facts
        FROM order_execution_plans
        JOIN orders ON orders.id = order_id
        WHERE order_execution_plans.id = %s
        """,
        (plan_id,),
    )
    if plan is None:
        return None
    asked = {rule["rule"] for rule in plan.context["rules"] if "transfers" in rule and "dropped" not in rule}
    for scenario in active_scenarios():
        for rule in scenario.rules if scenario.name == plan.context["scenario"] else ():
            if rule.name in asked:
                return allowed_locations(rule.transfer_from, plan.facts)
    return None


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
