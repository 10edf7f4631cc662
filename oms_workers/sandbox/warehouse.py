"""A stand-in for the people at the locations: they prepare and pack, and sometimes do not find a product.

    python -m oms_workers.sandbox.warehouse

It works on what is in the database by the same commands that an operator has, a few packages at a time. Now
and then goods are delivered to the shelves that are nearly empty.
"""

import logging
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import settings
from oms_workers.database import UNREACHABLE, connection, database_now, transaction
from oms_workers.errors import OmsError
from oms_workers.packages import commands
from oms_workers.packages.commands.registry import Request, run_command
from oms_workers.packages.counting import count_stock
from oms_workers.packages.models import (
    Package,
    PackageItem,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.reservations.loading import StockSpec
from oms_workers.reservations.models import Location, Meaning, Stock
from oms_workers.reservations.stock import lock
from oms_workers.sets import fetch
from oms_workers.silence import why

__all__ = ["commands", "main", "receive_goods", "work_a_round"]

logger = logging.getLogger(__name__)

ACTOR = "sandbox warehouse"

#: How long a package or a transfer stays in a state, so that the live view shows it there.
STEP_SECONDS = 3
PAUSE_SECONDS = 1.0

#: What is worked on in one round of each kind.
ROUND = 20

#: One package in so many is not found whole, and one in as many lacks only some of its items.
NOT_FOUND_EVERY = 12
TRANSFER_NOT_FOUND_EVERY = 10

#: Time between two deliveries, how many shelves one fills, the emptiest first, and with how many units. The
#: sandbox's customers order five units a second.
DELIVERY_SECONDS = 15.0
SHELVES = 40
UNITS = (20, 60)

#: A shelf with no more than so many units that can be promised is nearly empty.
NEARLY_EMPTY = 5

Choice = Callable[[random.Random, str], tuple[str, Request]]


def work_a_round(chance: random.Random) -> int:
    """Do the next step of whatever has stood for long enough; returns how many steps were done."""
    done = 0
    for standing, choose in (
        (_packages(PackageState.PREPARING), _pack),
        (_packages(PackageState.WAITING), _prepare),
        (_transfers(TransferState.IN_TRANSIT), _deliver),
        (_transfers(TransferState.WAITING), _ship),
    ):
        with connection():
            work = fetch(standing, _Standing)
        for found in work:
            name, request = choose(chance, found.sku)
            done += _run(found.number, name, request)
    return done


class _Standing(NamedTuple):
    number: str
    sku: str


def _packages(state: PackageState) -> Any:
    """The packages that have stood in this state for long enough, and a sku of each."""
    sku = PackageItem.select(PackageItem.sku).where(PackageItem.package == Package.id)
    return _longest(Package, sku.order_by(PackageItem.id), state)


def _transfers(state: TransferState) -> Any:
    """The transfers that have stood in this state for long enough, and a sku of each."""
    sku = TransferItem.select(TransferItem.sku).where(TransferItem.transfer == TransferOrder.id)
    return _longest(TransferOrder, sku.order_by(TransferItem.id), state)


def _longest(model: Any, sku: Any, state: PackageState | TransferState) -> Any:
    before = datetime.now(UTC) - timedelta(seconds=STEP_SECONDS)
    query = model.select(model.number, sku.limit(1).alias("sku"))
    return (
        query.where(model.state == state, model.changed_at < before).order_by(model.changed_at).limit(ROUND)
    )


def _prepare(chance: random.Random, sku: str) -> tuple[str, Request]:
    fate = chance.randrange(NOT_FOUND_EVERY)
    if fate == 0:
        return "PRODUCT_NOT_FOUND", Request(meaning=Meaning.QUANTITY, reason="the shelf is empty")
    if fate == 1:
        return "PRODUCT_NOT_FOUND_ADVANCED", Request({sku: 1}, Meaning.QUANTITY, "one is not there")
    return "START_PREPARING", Request()


def _pack(chance: random.Random, sku: str) -> tuple[str, Request]:  # noqa: ARG001 - one of several choices
    return "COMPLETE_PACKAGING", Request()


def _ship(chance: random.Random, sku: str) -> tuple[str, Request]:  # noqa: ARG001
    if chance.randrange(TRANSFER_NOT_FOUND_EVERY) == 0:
        return "TRANSFER_OUT_OF_STOCK", Request(meaning=Meaning.QUANTITY)
    return "SHIP_TRANSFER", Request()


def _deliver(chance: random.Random, sku: str) -> tuple[str, Request]:  # noqa: ARG001
    return "DELIVER_TRANSFER", Request()


def receive_goods(chance: random.Random) -> int:
    """Fill the shelves that are nearly empty, as a merchant would say so: by a count of what is there now.

    Returns how many shelves were filled.
    """
    available = Stock.on_hand - Stock.reserved - Stock.safety
    query = (
        Stock.select(Stock.sku, Stock.location, Location.code, Stock.safety)
        .join(Location)
        .where(Location.active, available <= NEARLY_EMPTY)
        .order_by(available, Stock.risen_at)
        .limit(SHELVES)
    )
    with connection(), transaction():
        shelves = fetch(query, _Shelf)
        on_hand = lock({(shelf.sku, shelf.location_id) for shelf in shelves})
        counts = [
            StockSpec(
                sku=shelf.sku,
                location=shelf.code,
                on_hand=on_hand[shelf.sku, shelf.location_id].on_hand + chance.randint(*UNITS),
                safety=shelf.safety,
            )
            for shelf in shelves
        ]
        return count_stock(counts, at=database_now())


class _Shelf(NamedTuple):
    sku: str
    location_id: int
    code: str
    safety: int


def _run(number: str, name: str, request: Request) -> bool:
    """Run one command; where somebody else was quicker, the next round sees what there is to do."""
    try:
        run_command(number, name, request, actor=ACTOR)
    except OmsError as error:
        logger.info("%s", error)
        return False
    return True


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(message)s")
    settings.load_or_exit(need_servers=True)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    chance = random.Random(1)
    delivered_at = time.monotonic()
    while not stopping.wait(PAUSE_SECONDS):
        try:
            work_a_round(chance)
            if time.monotonic() - delivered_at >= DELIVERY_SECONDS:
                delivered_at = time.monotonic()
                receive_goods(chance)
        except UNREACHABLE as error:
            logger.warning("PostgreSQL does not answer: %s", why(error))


if __name__ == "__main__":
    main()
