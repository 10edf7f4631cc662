"""Eight threads that do whatever may be done to orders, packages, transfers and stock, in random order.

`interleavings.py SECONDS SEED` works on the database of the environment and prints how often each thing was
done. An operator's command in a wrong state is lawful; any other error ends it with status 1.
"""

import random
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import connection, database_now, retry_transient, rows, transaction
from oms_workers.errors import OmsError
from oms_workers.fulfilment.first_planning import plan_waiting_orders
from oms_workers.fulfilment.plan_context import refresh_contexts
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.merchant_values import LoadError
from oms_workers.orders.held_orders import release_order
from oms_workers.packages.commands.registry import Option, Request, commands, run_command
from oms_workers.packages.counting import count_stock
from oms_workers.packages.ended_waits import cancel_ended_waits
from oms_workers.packages.models import UNPLANNED_STATES, PackageState
from oms_workers.packages.shortfalls import relieve_shortfalls
from oms_workers.reservations.discrepancies import clear
from oms_workers.reservations.loading import Complete, StockSpec
from oms_workers.reservations.models import Meaning
from oms_workers.scheduling.run import Run
from tests.orders.samples import an_order, store_orders

THREADS = 8
SKUS = ("CHAIR", "LAMP", "STOOL", "CLOCK")
PLACES = ("GEBZE", "IZMIR", "KADIKOY", "ANKARA")

PACKAGES = "SELECT number FROM packages WHERE state < 1000 ORDER BY random() LIMIT 3"
TRANSFERS = "SELECT number FROM transfer_orders WHERE state < 400 ORDER BY random() LIMIT 3"
HELD = "SELECT number FROM orders WHERE state = 'held' LIMIT 1"


class World:
    """What the threads share: the next order's key, what was done, and the first error."""

    def __init__(self, first_key: int = 0) -> None:
        self.done: Counter[str] = Counter()
        self.failure: str | None = None
        self.counts: deque[list[StockSpec]] = deque(maxlen=20)
        self._first_key = self._key = first_key
        self._lock = threading.Lock()

    def next_key(self) -> int:
        with self._lock:
            self._key += 1
            return self._key

    def some_key(self, chance: random.Random) -> int:
        """The key of an order that was placed lately."""
        with self._lock:
            return chance.randint(
                max(self._first_key + 1, self._key - 20), max(self._first_key + 1, self._key)
            )

    def count(self, name: str) -> None:
        with self._lock:
            self.done[name] += 1


def a_run() -> Run:
    with connection():
        return Run(database_now(), budget=timedelta(seconds=20))


def place_orders(world: World, chance: random.Random) -> None:
    for _ in range(3):
        skus = tuple(chance.choices(SKUS, k=chance.randint(1, 4)))
        order, items = an_order(world.next_key(), skus=skus)
        store_orders((order, [{**item, "quantity": chance.choice([1, 1, 2, 4])} for item in items]))


def plan(world: World, chance: random.Random) -> None:
    plan_waiting_orders(a_run())


def replan(world: World, chance: random.Random) -> None:
    states = chance.choice([UNPLANNED_STATES, (PackageState.OUT_OF_STOCK, PackageState.DEFECTIVE_PRODUCT)])
    replan_packages(a_run(), states, actor="task", max_attempts=chance.choice([0, 5]))


def replan_lost_transfers(world: World, chance: random.Random) -> None:
    replan_transfers(a_run())


def edit_an_order(world: World, chance: random.Random) -> None:
    """As the pull stores it when the hub has changed it: with other lines, or cancelled ones."""
    key, skus = world.some_key(chance), tuple(chance.choices(SKUS, k=chance.randint(1, 4)))
    order, items = an_order(key, skus=skus, modified_date=datetime.now(UTC).isoformat())
    store_orders((order, items))


def load_a_snapshot(world: World, chance: random.Random) -> None:
    """A count that was made now, or some seconds ago; or one that was loaded before, once more."""
    with connection():
        at = database_now()
    if world.counts and chance.random() < 0.3:
        load(world, chance.choice(world.counts), at)
        return
    made = chance.choice([None, at, at - timedelta(seconds=chance.randint(0, 20))])
    levels = [
        StockSpec(
            sku=sku,
            location=place,
            on_hand=chance.randint(-1, 12),
            safety=chance.choice([0, 0, 1]),
            counted_at=made.isoformat() if made else None,
        )
        for sku in chance.sample(SKUS, 2)
        for place in chance.sample(PLACES, 2)
    ]
    world.counts.append(levels)
    load(world, levels, at, [Complete(levels[0].location, made)] if chance.random() < 0.1 else [])


def load(world: World, levels: list[StockSpec], at: datetime, complete: Sequence[Complete] = ()) -> None:
    def attempt() -> None:
        with transaction():
            count_stock(levels, at=at, complete=complete)

    with connection():
        try:
            retry_transient(attempt)
        except LoadError:
            world.count("refused counts")
        relieve_shortfalls(actor="oms load", at=at)


def plan_late(world: World, chance: random.Random) -> None:
    skus = chance.sample(SKUS, 2)
    replan_packages(a_run(), UNPLANNED_STATES, actor="late stock", max_attempts=0, skus=skus)


def clear_discrepancies(world: World, chance: random.Random) -> None:
    run = a_run()
    with connection():
        clear(run, minimum_age=timedelta(0), reason="task")


def end_waits(world: World, chance: random.Random) -> None:
    run = a_run()
    cancel_ended_waits(run, actor="task")
    with connection():
        refresh_contexts(run)


def command_something(world: World, chance: random.Random) -> None:
    transfer = chance.random() < 0.3
    with connection():
        numbers = [found.number for found in rows(TRANSFERS if transfer else PACKAGES)]
        held = [found.number for found in rows(HELD)]
    for number in numbers:
        subject = "transfer" if transfer else "package"
        chosen = chance.choice([known for known in commands() if known.subject == subject])
        name = chosen.name
        missing = {chance.choice(SKUS): 1} if Option.MISSING in chosen.takes and chance.random() < 0.7 else {}
        meaning = chance.choice([None, *Meaning]) if Option.STOCK in chosen.takes else None
        try:
            run_command(number, name, Request(missing, meaning), actor="tests")
            world.count(name)
        except OmsError:
            world.count("refused commands")
    for number in held:
        try:
            release_order(number, actor="tests")
        except OmsError:
            world.count("refused commands")


WORK: tuple[Callable[[World, random.Random], None], ...] = (
    place_orders, plan, plan, replan, replan, plan_late, replan_lost_transfers, load_a_snapshot,
    load_a_snapshot, edit_an_order, clear_discrepancies, end_waits, command_something, command_something,
    command_something, command_something,
)  # fmt: skip


def work(world: World, seconds: float, seed: int) -> None:
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and world.failure is None:
        task = chance.choice(WORK)
        try:
            task(world, chance)
        except Exception:  # noqa: BLE001 - whatever it is, it is what the test is after
            world.failure = traceback.format_exc()
        world.count(task.__name__)


def main(seconds: float, seed: int) -> None:
    world = World()
    threads = [threading.Thread(target=work, args=(world, seconds, seed + n)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(dict(world.done))
    if world.failure:
        sys.exit(world.failure)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
