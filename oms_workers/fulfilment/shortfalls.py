"""Shortfalls: a snapshot has left less on hand than packages were promised."""

from collections.abc import Callable

from oms_workers.database import connection, rows, transaction
from oms_workers.fulfilment.commands.holdings import give_back
from oms_workers.fulfilment.commands.registry import Circumstances, lock_package_by_id
from oms_workers.fulfilment.isolation import one_by_one
from oms_workers.fulfilment.models import PackageState
from oms_workers.fulfilment.states import Change, change_packages

#: Packages that give way in one go; where more have to, the next run finds them.
MOST = 5_000


def relieve_shortfalls(circumstances: Circumstances, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Plan packages again for which a snapshot has left no stock; returns how many.

    Where less is on hand than packages and transfers hold, those that nobody has begun to prepare give way,
    the least urgent first, until the rest is covered.
    """
    given_way = 0
    with connection():
        for package_id in _short_packages():
            if should_stop():
                break
            given_way += one_by_one(
                lambda: _give_way(package_id, circumstances),  # noqa: B023
                f"Package {package_id} is short of stock and cannot give way",
            )
    return given_way


def _short_packages() -> list[int]:
    # The index stock_short holds only what is short.
    found = rows(
        """
        WITH short AS MATERIALIZED (
            SELECT stock.sku, stock.location_id, sum(quantity) - greatest(on_hand, 0) AS units
            FROM stock
            JOIN reservations AS held ON held.sku = stock.sku AND held.location_id = stock.location_id
             AND held.released_at IS NULL AND held.kind <> 'discrepancy'
            WHERE on_hand < reserved
            GROUP BY stock.sku, stock.location_id
        )
        SELECT package_id
        FROM (
            SELECT package_items.package_id, reservations.quantity, short.units AS short,
                   sum(reservations.quantity) OVER (
                       PARTITION BY short.sku, short.location_id
                       ORDER BY priority, promised_at DESC NULLS FIRST, placed_at DESC, reservations.id DESC
                   ) AS relieved
            FROM short
            JOIN reservations ON reservations.sku = short.sku AND reservations.location_id = short.location_id
             AND reservations.released_at IS NULL AND kind = 'package'
            JOIN package_items ON package_items.id = package_item_id
            JOIN packages ON packages.id = package_items.package_id AND packages.state = 100
            JOIN orders ON orders.id = packages.order_id
        ) AS candidates
        WHERE relieved - quantity < short
        GROUP BY package_id
        ORDER BY package_id
        LIMIT %s
        """,
        (MOST,),
    )
    return [candidate.package_id for candidate in found]


def _give_way(package_id: int, circumstances: Circumstances) -> bool:
    with transaction():
        package = lock_package_by_id(package_id)
        if package.state is not PackageState.WAITING:
            return False
        give_back(package, "shortfall", circumstances)
        change = Change(package.id, package.state, PackageState.NEEDS_REPLAN, "short_of_stock")
        change_packages([change], actor=circumstances.actor, at=circumstances.at)
        return True
