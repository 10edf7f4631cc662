"""Shortfalls: a snapshot has left less on hand than packages and transfers were promised."""

from collections.abc import Callable
from typing import NamedTuple

from oms_workers.database import connection, row, rows, transaction
from oms_workers.fulfilment.commands.holdings import give_back, held_by
from oms_workers.fulfilment.commands.registry import Circumstances, lock_package_by_id, lock_transfer_by_id
from oms_workers.fulfilment.commands.transfers import reservations_of
from oms_workers.fulfilment.models import PackageState, TransferState
from oms_workers.fulfilment.states import Change, change_packages, change_transfers
from oms_workers.isolation import one_by_one
from oms_workers.reservations.release import release_reservations
from oms_workers.reservations.stock import lock

#: Packages and transfers that give way in one go; where more have to, the next run finds them.
MOST = 5_000

#: States in which nobody has begun with a package.
UNTOUCHED = (PackageState.WAITING, PackageState.WAITING_FOR_TRANSFER)

#: Stock of which less is on hand than packages and transfers hold, and by how many units.
_SHORT = """
    SELECT stock.sku, stock.location_id, sum(quantity) - greatest(on_hand, 0) AS units
    FROM stock
    JOIN reservations AS held ON held.sku = stock.sku AND held.location_id = stock.location_id
     AND held.released_at IS NULL AND held.kind <> 'discrepancy'
    WHERE on_hand < reserved {condition}
    GROUP BY stock.sku, stock.location_id
    HAVING sum(quantity) > greatest(on_hand, 0)
"""


class _Candidate(NamedTuple):
    """A package, or one of its transfers, that is to give way."""

    package_id: int
    transfer_id: int | None


def relieve_shortfalls(circumstances: Circumstances, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Plan packages again, and look for other sources of transfers, for which a snapshot has left no stock.

    Where less is on hand than packages and transfers hold, those that nobody has begun with give way, the
    least urgent first, until the rest is covered. Returns how many have given way.
    """
    given_way = 0
    with connection():
        for candidate in _candidates():
            if should_stop():
                break
            given_way += one_by_one(
                lambda: _give_way(candidate, circumstances),  # noqa: B023
                f"Package {candidate.package_id} is short of stock and cannot give way",
            )
    return given_way


def _candidates() -> list[_Candidate]:
    # The index stock_short holds only what is short.
    found = rows(
        f"""
        WITH short AS MATERIALIZED ({_SHORT.format(condition="")}), held AS (
            SELECT held.id, held.sku, held.location_id, held.quantity, short.units AS short,
                   coalesce(package_items.package_id, transfer_orders.package_id) AS package_id,
                   transfer_orders.id AS transfer_id, transfer_orders.state AS transfer_state
            FROM short
            JOIN reservations AS held ON held.sku = short.sku AND held.location_id = short.location_id
             AND held.released_at IS NULL AND held.kind <> 'discrepancy'
            LEFT JOIN package_items ON package_items.id = held.package_item_id
            LEFT JOIN transfer_items ON transfer_items.id = held.transfer_item_id
            LEFT JOIN transfer_orders ON transfer_orders.id = transfer_items.transfer_id
        )
        SELECT package_id, transfer_id
        FROM (
            SELECT held.package_id, transfer_id, quantity, short,
                   sum(quantity) OVER (
                       PARTITION BY held.sku, held.location_id
                       ORDER BY orders.priority, promised_at DESC NULLS FIRST, placed_at DESC, held.id DESC
                   ) AS relieved
            FROM held
            JOIN packages ON packages.id = held.package_id
            JOIN orders ON orders.id = packages.order_id
            WHERE (transfer_id IS NULL AND packages.state = ANY(%s)) OR transfer_state = %s
        ) AS candidates
        WHERE relieved - quantity < short
        GROUP BY package_id, transfer_id
        ORDER BY package_id, transfer_id
        LIMIT %s
        """,
        ([state.value for state in UNTOUCHED], TransferState.WAITING.value, MOST),
    )
    return [_Candidate(*candidate) for candidate in found]


def _give_way(candidate: _Candidate, circumstances: Circumstances) -> bool:
    with transaction():
        if candidate.transfer_id is not None:
            return _let_transfer_go(candidate.transfer_id, circumstances)
        package = lock_package_by_id(candidate.package_id)
        if package.state not in UNTOUCHED or not _is_short(held_by(package)):
            return False
        give_back(package, "shortfall", circumstances)
        change = Change(package.id, package.state, PackageState.NEEDS_REPLAN, "short_of_stock")
        change_packages([change], actor=circumstances.actor, at=circumstances.at)
        return True


def _let_transfer_go(transfer_id: int, circumstances: Circumstances) -> bool:
    """A transfer that its source has not begun with is out of stock: task 5 finds it another source."""
    transfer = lock_transfer_by_id(transfer_id)
    held = reservations_of(transfer)
    if transfer.state is not TransferState.WAITING or not _is_short(held):
        return False
    release_reservations(held, reason="shortfall", at=circumstances.at)
    change = Change(transfer.id, transfer.state, TransferState.OUT_OF_STOCK, "short_of_stock")
    change_transfers([change], actor=circumstances.actor, at=circumstances.at)
    return True


def _is_short(reservation_ids: list[int]) -> bool:
    """Whether stock that one of these holds is short now, seen under its lock; they are locked already.

    Since the candidates were listed a snapshot may have brought it back, or others may have given way.
    """
    found = rows("SELECT DISTINCT sku, location_id FROM reservations WHERE id = ANY(%s)", (reservation_ids,))
    keys = [(sku, location_id) for sku, location_id in found]
    lock(keys)
    condition = """
        AND (stock.sku, stock.location_id) IN (SELECT * FROM unnest(%s::text[], %s::bigint[]))
    """
    columns = ([sku for sku, _ in keys], [location_id for _, location_id in keys])
    return row(_SHORT.format(condition=condition), columns) is not None
