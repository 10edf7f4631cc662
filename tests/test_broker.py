"""The broker: what its consumers take, and from whom."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
