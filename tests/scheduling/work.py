"""A worker that works off what is in the queue, and what it shall do."""

from typing import Any

import dramatiq
import pytest

from oms_workers.broker import current
from oms_workers.database import rows
from oms_workers.scheduling.run import Run
from tests.scheduling import operations


def work_off() -> None:
    """Let a worker take what is in the queue, and end."""
    worker = dramatiq.Worker(current(), worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        current().join("default", timeout=20_000)
        worker.join()
    finally:
        worker.stop()


def do(monkeypatch: pytest.MonkeyPatch, work: Any) -> list[dict[str, Any]]:
    """Let the operation do this; returns the kwargs of each call."""
    calls: list[dict[str, Any]] = []

    def called(run: Run, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return work(run)

    monkeypatch.setattr(operations, "work", called)
    return calls


def only_run() -> Any:
    (run,) = rows("SELECT * FROM scheduled_runs")
    return run
