"""`oms status`: what ran, what did not, what waits."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

import settings
from oms_workers.cli.output import age, console, print_json, print_table

#: A clock that has sent no tick for so many periods is not alive.
SILENT_TICKS = 2


def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show clock, workers, queues, each task's last run, and what waits in each state.

    Example: oms status --json
    """
    settings.load_or_exit(need_servers=True)
    import schedules  # noqa: F401 - fills the table

    now = datetime.now(UTC)
    found = collect(now)
    if as_json:
        print_json(found)
    else:
        _print(found, now)
    if found["problem"]:
        print(found["problem"], file=sys.stderr)
        sys.exit(1)


def collect(now: datetime) -> dict[str, Any]:
    """Everything that `oms status --json` has. Raises `ServiceError` where PostgreSQL is silent.

    Without Redis there is still the ledger to look at: then `queues` is null, and `problem` says why.
    """
    from oms_workers.cli import backlog, queues
    from oms_workers.cli.services import ServiceError, answering
    from oms_workers.database import connection
    from oms_workers.scheduling import table, tick

    waiting, sent_at, problem = None, None, None
    try:
        with answering("Redis"):
            waiting, sent_at = queues.depths(), tick.last_sent()
    except ServiceError as error:
        problem = str(error)
    with answering("PostgreSQL"), connection():
        return {
            "problem": problem,
            "clock": _clock(now, sent_at),
            "workers": _workers(),
            "queues": waiting,
            "tasks": [_task(task, now) for task in table.tasks()],
            "backlog": backlog.backlog(),
        }


def _clock(now: datetime, sent_at: datetime | None) -> dict[str, Any]:
    from oms_workers.scheduling import tick

    ran_at = tick.last_run()
    patience = timedelta(seconds=SILENT_TICKS * settings.current().tick_seconds + 5)
    return {
        "alive": sent_at is not None and now - sent_at < patience,
        "tick_sent_at": sent_at,
        "tick_ran_at": ran_at,
    }


def _workers() -> list[dict[str, Any]]:
    from oms_workers.scheduling.liveness import living_workers

    return [worker._asdict() for worker in living_workers()]


def _task(task: Any, now: datetime) -> dict[str, Any]:
    from oms_workers.scheduling import ledger

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


def _print(found: dict[str, Any], now: datetime) -> None:
    clock = found["clock"]
    console().print(
        f"clock {'alive' if clock['alive'] else 'SILENT'}: tick sent {age(clock['tick_sent_at'], now)}, "
        f"run {age(clock['tick_ran_at'], now)}; {len(found['workers'])} worker(s) alive"
    )
    print_table(
        ("task", "enabled", "last slot", "outcome", "took", "next", "result"),
        [_line(task, now) for task in found["tasks"]],
        title="\nTasks",
    )
    print_table(
        ("queue", "waiting", "oldest"),
        [(queue["name"], queue["depth"], age(queue["oldest"], now)) for queue in found["queues"] or ()],
        title="\nQueues",
    )
    print_table(
        ("state", "count", "oldest", ""),
        [
            (line["state"], line["count"], age(line["oldest"], now), line["stuck"] or "")
            for line in found["backlog"]
        ],
        title="\nBacklog",
    )


def _line(task: dict[str, Any], now: datetime) -> tuple[object, ...]:
    last = task["last_run"] or {}
    outcome = " ".join(str(last[key]) for key in ("state", "reason", "error") if last.get(key))
    took = "" if last.get("seconds") is None else f"{last['seconds']} s"
    result = ", ".join(f"{key} {value}" for key, value in (last.get("result") or {}).items())
    return (
        task["name"],
        "yes" if task["enabled"] else "no",
        age(last.get("slot"), now),
        outcome or "never ran",
        took,
        age(task["next"], now) if task["next"] else "",
        result,
    )
