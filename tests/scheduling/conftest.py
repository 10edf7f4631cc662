"""A table of one task, a queue and a database that are empty.

What reads the settings is imported in the fixtures: this file is also read before there are any.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest


@pytest.fixture
def task(db: None, configure: Callable[..., object]) -> Iterator[Any]:
    from oms_workers.broker import broker, stopping
    from oms_workers.scheduling import process, table
    from tests.scheduling import operations

    before = table.tasks()
    table.register([operations.TASK])
    configure(CATCH_UP_SECONDS=8 * 7 * 86400)
    broker.client.flushdb()
    yield operations.TASK
    broker.client.flushdb()
    process.stop_liveness()
    stopping.clear()
    table.register(before)


@pytest.fixture
def slot(task: Any) -> datetime:
    """The task's newest slot, which is due."""
    from oms_workers.database import database_now, execute
    from oms_workers.scheduling import known_cadences

    known_cadences.record([task.plan])
    newest: datetime = task.cadence.latest(database_now())
    execute("UPDATE scheduled_tasks SET since = %s", (newest,))
    return newest
