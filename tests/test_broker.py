"""The broker: what its consumers take, and from whom."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import dramatiq
import pytest

import settings
from oms_workers.broker import Broker, make_broker


def until(found: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Shelf:
    """Two queues of messages that are at work until they are let go."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.let_go = threading.Event()
        self._brokers: list[Broker] = []

    def broker(self, name: str) -> Broker:
        """A process of its own, as far as Redis can tell."""
        made = make_broker(settings.current())
        self._brokers.append(made)
        for queue in ("shelves", "lamps"):

            def work(number: int, queue: str = queue) -> None:
                self.begun.append((name, queue))
                self.let_go.wait(20)

            dramatiq.actor(work, actor_name=queue, queue_name=queue, broker=made, max_retries=0)
        return made

    def close(self) -> None:
        self.let_go.set()
        for broker in self._brokers:
            broker.client.flushdb()
            broker.client.connection_pool.disconnect()


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    made.broker("empty").client.flushdb()
    yield made
    made.close()


@contextmanager
def working(broker: Broker, threads: int) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=20)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(timeout=5_000)


def waiting(broker: Broker) -> int:
    counts = [broker.client.llen(f"dramatiq:{queue}") for queue in ("shelves", "lamps")]
    return sum(counts)  # type: ignore[arg-type]


def test_what_no_thread_can_begin_is_left_for_others(shelf: Shelf) -> None:
    first, second = shelf.broker("first"), shelf.broker("second")
    for number in range(6):
        first.get_actor("shelves").send(number)
        first.get_actor("lamps").send(number)

    with working(first, threads=2):
        until(lambda: len(shelf.begun) == 2)
        assert waiting(first) == 10
        with working(second, threads=3):
            until(lambda: len(shelf.begun) == 5)
            assert [name for name, _ in shelf.begun].count("first") == 2
            assert waiting(first) == 7
            shelf.let_go.set()
            until(lambda: len(shelf.begun) == 12)


def test_a_free_thread_is_given_the_next_message_at_once(shelf: Shelf) -> None:
    broker = shelf.broker("first")
    shelf.let_go.set()
    for number in range(40):
        broker.get_actor("shelves").send(number)

    started = time.monotonic()
    with working(broker, threads=1):
        until(lambda: len(shelf.begun) == 40)

    assert time.monotonic() - started < 2


def message(**changes: Any) -> str:
    """A message for the shelves, but for what is changed."""
    whole = {
        "queue_name": "shelves",
        "actor_name": "shelves",
        "args": [1],
        "kwargs": {},
        "options": {},
        "message_id": str(uuid4()),
        "message_timestamp": 0,
    }
    return json.dumps({**whole, **changes})


FAR = 4_000_000_000_000

POISON = {
    "no JSON": lambda: f"no JSON {uuid4()}",
    "no object": lambda: f'["{uuid4()}"]',
    "nothing in it": lambda: "{" + " " * len(str(uuid4())) + "}",
    "a queue that nobody knows": lambda: message(queue_name="nobody"),
    "another queue": lambda: message(queue_name="lamps"),
    "its queue for delays": lambda: message(queue_name="shelves.DQ"),
    "no name of a queue": lambda: message(queue_name=["shelves"]),
    "an actor that nobody knows": lambda: message(actor_name="nobody"),
    "no name of an actor": lambda: message(actor_name=["shelves"]),
    "a far time": lambda: message(options={"eta": FAR}),
    "a time without end": lambda: message(options={"eta": float("inf")}),
    "a time in words": lambda: message(options={"eta": "tomorrow"}),
    "no options": lambda: message(options=None),
    "a list of options": lambda: message(options=[]),
    "no arguments": lambda: message(args=None),
    "arguments of a word": lambda: message(kwargs="one"),
    "an id that is no text": lambda: message(message_id=[]),
    "a wrong set of exceptions": lambda: message(options={"throws": "all"}, args=[1, 2, 3]),
    "too many arguments": lambda: message(args=[1, 2, 3, 4]),
    "unknown arguments": lambda: message(kwargs={"colour": "red"}),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_bad_message_goes_to_the_dead_letters_and_stops_nothing(
    shelf: Shelf, poison: Callable[[], str]
) -> None:
    broker = shelf.broker("first")
    shelf.let_go.set()
    for number in range(4):
        data = poison()
        with suppress(ValueError):
            found = json.loads(data)
            if isinstance(found, dict) and isinstance(found.get("options"), dict):
                found["options"]["redis_message_id"] = f"id {number}"
                data = json.dumps(found)
        broker.do_enqueue("shelves", f"id {number}", data)
    broker.get_actor("shelves").send(1)

    with working(broker, threads=2) as worker:
        until(lambda: shelf.begun)
        until(lambda: broker.client.zcard("dramatiq:shelves.XQ") == 4)
        assert all(thread.is_alive() for thread in worker.workers)
        until(lambda: broker.client.keys("dramatiq:__acks__*") == [])

    assert shelf.begun == [("first", "shelves")]


def leave_behind(broker: Broker, queue: str, *, silent_for: timedelta) -> None:
    """What a killed worker leaves: a message that it had taken, and its last sign of life."""
    last = datetime.now(UTC) - silent_for
    broker.client.zadd("dramatiq:__heartbeats__", {"dead": int(last.timestamp() * 1000)})
    broker.client.sadd(f"dramatiq:__acks__.dead.{queue}", "id")
    broker.client.hset(f"dramatiq:{queue}.msgs", "id", message(options={"redis_message_id": "id"}))


def test_a_killed_worker_s_message_is_found_again(shelf: Shelf) -> None:
    broker = shelf.broker("first")
    shelf.let_go.set()
    leave_behind(broker, "shelves", silent_for=timedelta(seconds=61))

    with working(broker, threads=1):
        until(lambda: shelf.begun)


def test_what_is_left_of_an_old_queue_costs_no_search_at_each_look(shelf: Shelf) -> None:
    broker = shelf.broker("first")
    leave_behind(broker, "gone", silent_for=timedelta(minutes=2))
    before = searches(broker)

    with working(broker, threads=1):
        threading.Event().wait(1)

    # Each of the four consumers looks once at its start.
    assert searches(broker) - before <= 4


def searches(broker: Broker) -> int:
    found: Any = broker.client.info("commandstats")
    return found.get("cmdstat_keys", {"calls": 0})["calls"]


@pytest.mark.parametrize(("minutes", "is_forgotten"), [(9, False), (11, True)])
def test_a_worker_that_was_silent_for_long_is_forgotten(
    shelf: Shelf, minutes: int, *, is_forgotten: bool
) -> None:
    broker = shelf.broker("first")
    leave_behind(broker, "gone", silent_for=timedelta(minutes=minutes))

    broker.forget_silent_workers(datetime.now(UTC))

    assert broker.client.lrange("dramatiq:gone", 0, -1) == ([b"id"] if is_forgotten else [])
    assert broker.client.exists("dramatiq:__acks__.dead.gone") == (not is_forgotten)
    assert (broker.client.zscore("dramatiq:__heartbeats__", "dead") is None) is is_forgotten
