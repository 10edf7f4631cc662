"""A table of one task, a queue and a database that are empty, and a worker that lives."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

import settings
from oms_workers.broker import current, stopping
from oms_workers.database import connection_parameters, database_now, execute
from oms_workers.scheduling import known_cadences, liveness, process, table
from oms_workers.scheduling.actor import job_of
from oms_workers.scheduling.table import Task
from oms_workers.scheduling.ticker import TickerThread
from tests.scheduling import operations


@pytest.fixture
def task(db: None, configure: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    # A worker of these tests does not tick by itself: what is sent is the test's to say.
    monkeypatch.setattr(TickerThread, "after_worker_boot", lambda self, broker, worker: None)
    before = table.tasks()
    if operations.TASK.path not in current().actors:
        job_of(operations.TASK.operation).declare(current())
    table.register([operations.TASK])
    configure(CATCH_UP_SECONDS=8 * 7 * 86400)
    current().client.flushdb()
    yield operations.TASK
    current().client.flushdb()
    process.stop_liveness()
    stopping.clear()
    table.register(before)


@pytest.fixture
def slot(task: Task) -> datetime:
    """The task's newest slot, which is due."""
    known_cadences.record([task.plan])
    newest: datetime = task.cadence.latest(database_now())
    execute("UPDATE scheduled_tasks SET since = %s", (newest,))
    return newest


@pytest.fixture
def no_grace(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL has run for long, and one look is enough to tell that a worker is dead."""
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 0)
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0)


@pytest.fixture
def worker() -> Iterator[str]:
    """The id of a worker that holds its lock."""
    alive = liveness.Liveness(connection_parameters(settings.current())).start()
    yield alive.worker
    alive.stop()
