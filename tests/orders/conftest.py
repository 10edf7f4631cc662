"""A hub, and the pull from it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from oms_workers.database import database_now
from oms_workers.orders.client import Omnitron
from oms_workers.orders.pull import pull as pull_orders
from oms_workers.scheduling.run import Run
from tests.orders.hub import TOKEN, Hub, serve


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve(Hub()) as running:
        yield running


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that the client would have waited."""
    return []


@pytest.fixture
def client(hub: Hub, pauses: list[float], configure: Callable[..., Any]) -> Iterator[Any]:
    """A client that waits for nothing, but says how long it would."""
    configuration = configure(OMNITRON_URL=hub.url, OMNITRON_TOKEN=TOKEN, OMNITRON_PAGE_SIZE=10)

    def wait(seconds: float) -> bool:
        if seconds:
            pauses.append(seconds)
        return True

    with Omnitron(configuration, wait) as made:
        yield made


@pytest.fixture
def pull(db: None, client: Any) -> Callable[[], dict[str, int]]:
    """Pull from the hub to the end; returns the counts."""
    return lambda: pull_orders(client, Run(database_now(), budget=timedelta(minutes=1)), concurrency=4)
