"""The ledger, against a real PostgreSQL."""

from datetime import timedelta

import pytest

import settings
from oms_workers.database import connection_parameters, execute
from oms_workers.scheduling import ledger
from oms_workers.scheduling.cadence import Interval
from oms_workers.scheduling.liveness import Liveness

TASK = "oms.tests.tasks.sweep"


@pytest.fixture
def worker(db):
    liveness = Liveness(connection_parameters(settings.current())).start()
    yield liveness.worker
    liveness.stop()


def test_x(worker):
    plan = ledger.Plan(TASK, Interval(1), True, timedelta(hours=6))
    ledger.record_cadences([plan])
    execute("UPDATE scheduled_tasks SET since = clock_timestamp() - interval '5 s'")
    a = ledger.claim(plan, trigger="tick", worker=worker, wait=lambda s: None)
    assert a
