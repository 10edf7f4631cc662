"""A stand-in for the people at the locations: they prepare and pack, and sometimes do not find a product.

    python -m oms_workers.sandbox.warehouse

It works on what is in the database by the same commands that an operator has, a few packages at a time.
"""

import logging
import random
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import settings
from oms_workers.database import UNREACHABLE, connection
from oms_workers.errors import OmsError
from oms_workers.packages import commands
from oms_workers.packages.commands.registry import Request, run_command
from oms_workers.packages.models import (
    Package,
    PackageItem,
    PackageState,
    TransferItem,
    TransferOrder,
    TransferState,
)
from oms_workers.reservations.discrepancies import Meaning
from oms_workers.sets import fetch

__all__ = ["commands", "main", "work_a_round"]

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
    while not stopping.wait(PAUSE_SECONDS):
        try:
            work_a_round(chance)
        except UNREACHABLE as error:
            logger.warning("PostgreSQL does not answer: %s", error)


if __name__ == "__main__":
    main()
