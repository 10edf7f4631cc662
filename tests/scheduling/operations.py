"""A task table for the tests of the actor and the tick: one operation whose work each test decides."""

from datetime import timedelta
from typing import Any

from oms_workers.configuration.cadence import Interval
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run
from oms_workers.scheduling.table import Task

WEEK = timedelta(weeks=1)


def work(run: Run, **kwargs: Any) -> dict[str, Any] | None:
    """Replaced by the tests."""
    raise NotImplementedError


@scheduled("oms.tests.tasks.operation", budget=timedelta(minutes=1))
def operation(run: Run, **kwargs: Any) -> dict[str, Any] | None:
    """Do what the test says."""
    return work(run, **kwargs)


#: Weekly, so that no slot comes due in the middle of a test.
TASK = Task(
    "operation",
    "ARCHIVE_OLD_AUDIT_EVENTS",
    operation,
    Interval(int(WEEK.total_seconds())),
    {"older_than": 120},
)
