"""How a program begins: the broker, every actor, the task table, and the cadences that the clock reads."""

from collections.abc import Iterable

import settings
from oms_workers import broker
from oms_workers.broker import Broker, Job
from oms_workers.scheduling import table, tick, ticker
from oms_workers.scheduling.actor import job_of
from oms_workers.scheduling.process import WorkerProcess
from oms_workers.watch import WatchThread


def begin(rows: Iterable[table.Task], *, jobs: Iterable[Job] = ()) -> Broker:
    """Make these rows the task table, and these jobs and the rows' operations actors of a new broker."""
    made = broker.start(settings.current())
    made.add_middleware(WatchThread())
    made.add_middleware(tick.TickSent())
    made.add_middleware(WorkerProcess())
    made.add_middleware(ticker.TickerThread())
    table.register(rows)
    operations = [job_of(task.operation) for task in table.tasks()]
    for job in (ticker.JOB, *operations, *jobs):
        job.declare(made)
    tick.schedule()
    return made
