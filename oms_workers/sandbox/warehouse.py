"""A stand-in for the people at the locations: they prepare and pack, and sometimes do not find a product.

    python -m oms_workers.sandbox.warehouse

It works on what is in the database by the same commands that an operator has, a few packages at a time.
"""

import logging
import random
import signal
import threading
from collections.abc import Callable

import settings
from oms_workers.database import UNREACHABLE, connection, rows
from oms_workers.errors import OmsError
from oms_workers.fulfilment.commands import packages, rejections, transfers  # noqa: F401 - registers
from oms_workers.fulfilment.commands.registry import Request, run_command
from oms_workers.reservations.discrepancies import Meaning

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

WAITING = """
    SELECT number, (
        SELECT sku FROM package_items WHERE package_id = packages.id ORDER BY id LIMIT 1
    ) AS sku
    FROM packages
    WHERE state = %s AND changed_at < clock_timestamp() - %s * interval '1 s'
    ORDER BY changed_at
    LIMIT %s
"""

TRANSFERS = """
    SELECT number, NULL AS sku
    FROM transfer_orders
    WHERE state = %s AND changed_at < clock_timestamp() - %s * interval '1 s'
    ORDER BY changed_at
    LIMIT %s
"""

Choice = Callable[[random.Random, str], tuple[str, Request]]


def work_a_round(chance: random.Random) -> int:
    """Do the next step of whatever has stood for long enough; returns how many steps were done."""
    done = 0
    for query, state, choose in (
        (WAITING, 200, _pack),
        (WAITING, 100, _prepare),
        (TRANSFERS, 300, _deliver),
        (TRANSFERS, 100, _ship),
    ):
        with connection():
            standing = rows(query, (state, STEP_SECONDS, ROUND))
        for found in standing:
            name, request = choose(chance, found.sku)
            done += _run(found.number, name, request)
    return done


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
