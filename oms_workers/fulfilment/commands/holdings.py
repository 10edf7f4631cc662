"""What a package holds of the stock: its own reservations and those of the transfers that it waits for."""

from oms_workers.database import rows
from oms_workers.fulfilment.commands.registry import Circumstances, Package
from oms_workers.fulfilment.models import TransferState
from oms_workers.fulfilment.states import Change, change_transfers
from oms_workers.reservations.release import of_package_items, of_transfer_items, release_reservations

#: Transfers whose goods have not left their source.
STOPPABLE = (TransferState.WAITING, TransferState.READY_FOR_SHIPMENT, TransferState.OUT_OF_STOCK)


def held_by(package: Package) -> list[int]:
    """The live reservations of a locked package, by id."""
    return of_package_items([item.id for item in package.items])


def units_held_by(package: Package) -> dict[str, int]:
    """The units by sku that a locked package has reserved at its own location."""
    found: list[tuple[str, int]] = rows(
        "SELECT sku, sum(quantity)::int FROM reservations WHERE id = ANY(%s) GROUP BY sku",
        (held_by(package),),
    )
    return dict(found)


def give_back(package: Package, reason: str, circumstances: Circumstances) -> None:
    """Release all that a locked package holds, and stop its transfers where they have not been sent.

    What is on its way arrives, and is on hand at its destination for others.
    """
    transfers = rows(
        """
        SELECT id, state
        FROM transfer_orders
        WHERE package_id = %s AND state = ANY(%s)
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        (package.id, [state.value for state in STOPPABLE]),
    )
    brought = rows(
        "SELECT id FROM transfer_items WHERE transfer_id = ANY(%s)", ([found.id for found in transfers],)
    )
    held = [*held_by(package), *of_transfer_items([item.id for item in brought])]
    release_reservations(held, reason=reason, at=circumstances.at)
    change_transfers(
        [
            Change(
                found.id, TransferState(found.state), TransferState.CANCELLED, "cancelled", {"reason": reason}
            )
            for found in transfers
        ],
        actor=circumstances.actor,
        at=circumstances.at,
    )
