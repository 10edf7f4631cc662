"""Whether everything moves: the clock, the workers, the queues, each task's last run, and what waits."""

from datetime import datetime
from typing import Any

from oms_workers.database import connection
from oms_workers.operation import backlog, findings, queues, tables
from oms_workers.operation.services import ServiceError, answering
from oms_workers.scheduling import ledger, table, tick
from oms_workers.scheduling.liveness import living_workers


def collect(now: datetime) -> dict[str, Any]:
    """Everything that `oms status --json` has. Raises `ServiceError` where PostgreSQL is silent.

    Without Redis there is still the ledger to look at: then `queues` is null, and `problem` says why.
    """
    waiting, sent_at, problem = None, None, None
    try:
        with answering("Redis"):
            waiting, sent_at = queues.depths(), tick.last_sent()
    except ServiceError as error:
        problem = str(error)
    with answering("PostgreSQL"), connection():
        found = {
            "problem": problem,
            "clock": _clock(now, sent_at),
            "workers": _workers(),
            "queues": waiting,
            "tasks": [_task(task, now) for task in table.tasks()],
            "backlog": backlog.backlog(),
            "tables": tables.tables(now),
        }
        return {**found, "findings": findings.find(found, now)}


def _clock(now: datetime, sent_at: datetime | None) -> dict[str, Any]:
    return {
        "alive": findings.is_alive(sent_at, now),
        "tick_sent_at": sent_at,
        "tick_ran_at": tick.last_run(),
    }


def _workers() -> list[dict[str, Any]]:
    return [worker._asdict() for worker in living_workers()]


def _task(task: Any, now: datetime) -> dict[str, Any]:
    last = ledger.last_run(task.path)
    return {
        "name": task.name,
        "task": task.path,
        "enabled": task.enabled,
        "last_run": _last_run(last) if last else None,
        "next": task.cadence.next(now) if task.enabled else None,
    }


def _last_run(last: Any) -> dict[str, Any]:
    ended = last.finished_at and last.started_at
    return {
        "slot": last.slot,
        "state": last.state,
        "reason": last.reason,
        "trigger": last.trigger,
        "attempts": last.attempts,
        "started_at": last.started_at,
        "finished_at": last.finished_at,
        "seconds": round((last.finished_at - last.started_at).total_seconds(), 3) if ended else None,
        "result": last.result,
        "error": last.error,
    }
