"""What is wrong at the moment, each in a sentence: what `oms status --check` ends with status 1 for."""

import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import settings
from oms_workers.backlog import Waiting, registered_waiting
from oms_workers.database import database_now
from oms_workers.operation.backlog import Count
from oms_workers.operation.tables import find_growing
from oms_workers.packages.closed_locations import still_at_closed_locations
from oms_workers.scheduling import accounting, clocks, future, known_cadences, table
from oms_workers.scheduling.run import WAITS_FOR
from oms_workers.scheduling.table import Task
from oms_workers.sets import fetch_one

#: A tick that was not sent, or a slot that nobody took care of, for so many periods is late.
SILENT_TICKS = 2

#: Longer than any run keeps a worker's threads, the updating of plan contexts aside.
QUEUE_PATIENCE = timedelta(minutes=15)

#: How long something may wait that no enabled task picks up.
STUCK_PATIENCE = timedelta(days=1)

#: Packages of a location that a finding names.
MOST_NAMED = 5

_PUT_RIGHT = "The next tick at which the clocks agree puts it right."


def patience() -> timedelta:
    """How long a tick may be out before the clock counts as silent."""
    return timedelta(seconds=SILENT_TICKS * settings.current().tick_seconds + 5)


def is_alive(sent_at: datetime | None, now: datetime) -> bool:
    """Whether a clock that sent its last tick then is alive; a stamp from the future proves nothing."""
    return sent_at is not None and -clocks.MOST_DIFFERENCE < now - sent_at < patience()


def find(status: dict[str, Any], now: datetime) -> list[str]:
    """What is wrong with what `status.collect` found; needs a `connection()` around it."""
    return [
        *([status["problem"]] if status["problem"] else _of_clock(status["clock"], now)),
        *_of_clocks(now, database_now()),
        *_of_stamps(status, now),
        *([] if status["workers"] else ["No worker lives; start the Procfile's `worker`."]),
        *_of_tasks(),
        *_of_last_runs(status["tasks"]),
        *_of_queues(status["queues"] or (), now),
        *_of_backlog(status["backlog"], now),
        *find_growing(status["tables"], now),
        *_of_closed_locations(),
    ]


def _of_clock(clock: dict[str, Any], now: datetime) -> Iterator[str]:
    sent_at, ran_at = clock["tick_sent_at"], clock["tick_ran_at"]
    if sent_at is None:
        yield "The clock has sent no tick yet; start the Procfile's `clock`."
    elif now - sent_at >= patience():
        yield f"The clock is silent since its tick of {_ago(sent_at, now)}; start the Procfile's `clock`."
    if ran_at is not None and now - ran_at >= patience():
        yield f"No worker has run a tick since {_ago(ran_at, now)}; see the workers' logs."


def _of_clocks(ours: datetime, theirs: datetime) -> Iterator[str]:
    if clocks.differ(theirs, ours):
        yield f"{clocks.sentence(theirs, ours)} No run is claimed until they agree."
    # While the clocks differ, what lies in the future for one of them is shown.
    now = min(ours, theirs)
    for rows in future.find_rows(now):
        yield (
            f"{_name(rows.task)} has {rows.rows} row(s) of the ledger in the future,"
            f" up to {rows.until.isoformat()}. {_PUT_RIGHT}"
        )
    for cadence in future.find_cadences(now):
        yield (
            f"{_name(cadence.task)} has no slots before {cadence.since.isoformat()},"
            f" which is in the future. {_PUT_RIGHT}"
        )


def _name(path: str) -> str:
    """The task's name, or its path where this release has no such task."""
    return next((task.name for task in table.tasks() if task.path == path), path)


def _of_stamps(status: dict[str, Any], now: datetime) -> Iterator[str]:
    for name, moment in _stamps(status):
        if moment is not None and moment - now >= clocks.MOST_DIFFERENCE:
            yield (
                f"{name} has a stamp from the future, {moment:%Y-%m-%d %H:%M:%S} UTC: the machine that"
                " wrote it had a wrong clock, or this machine has; set their clocks by NTP."
            )


def _stamps(status: dict[str, Any]) -> Iterator[tuple[str, datetime | None]]:
    yield "The clock's last tick", status["clock"]["tick_sent_at"]
    yield "The last tick that a worker ran", status["clock"]["tick_ran_at"]
    for worker in status["workers"]:
        yield f"The start of the worker {worker['id']}", worker["started_at"]
    for queue in status["queues"] or ():
        yield f"The oldest message in the queue {queue['name']}", queue["oldest"]
    # Where `arrived` is the moment of ours, the other one is the shop's own.
    ours = {waiting.state for waiting in registered_waiting() if waiting.arrived is None}
    for line in status["backlog"]:
        if line["state"] in ours:
            yield f"The oldest of {line['state']}", line["oldest"]


def _of_tasks() -> Iterator[str]:
    for task in table.tasks():
        since = _late_since(task) if task.enabled else None
        if since is not None:
            yield (
                f"{task.name} is late: nothing has become of its slot {since:%Y-%m-%d %H:%M:%S} UTC;"
                " see the clock and the workers."
            )


def _of_last_runs(tasks: Iterable[dict[str, Any]]) -> Iterator[str]:
    for task in tasks:
        result = task["last_run"] and task["last_run"]["result"]
        if task["enabled"] and result and WAITS_FOR in result:
            yield f"{task['name']} does nothing: {result[WAITS_FOR]}"


def _late_since(task: Task) -> datetime | None:
    """The first slot of an enabled task that came due a while ago and that no row accounts for."""
    known = known_cadences.find(task.plan)
    if known is None or not known.enabled:
        return None
    missed = accounting.missed_before(task.path, known.cadence, known.now, known.since)
    return missed.first if missed and known.now - missed.first >= patience() else None


def _of_queues(queues: Iterable[dict[str, Any]], now: datetime) -> Iterator[str]:
    for queue in queues:
        if queue["oldest"] is not None and now - queue["oldest"] >= QUEUE_PATIENCE:
            yield (
                f"{queue['depth']} messages wait in the queue {queue['name']}, the oldest since"
                f" {_ago(queue['oldest'], now)}; start more workers, or see what the threads are at."
            )


def _of_backlog(backlog: Iterable[dict[str, Any]], now: datetime) -> Iterator[str]:
    registered = {waiting.state: waiting for waiting in registered_waiting()}
    for line in backlog:
        waiting = registered[line["state"]]
        longest = waiting.patience or (STUCK_PATIENCE if line["stuck"] else None)
        if longest is None or not line["count"]:
            continue
        since = _arrived(waiting) or line["oldest"]
        if since is not None and now - since >= longest:
            why = f"; {line['stuck']}" if line["stuck"] else ""
            yield (
                f"{line['state']}: {line['count']:,}, the longest waiting since {_ago(since, now)}, which is"
                f" more than {longest / timedelta(hours=1):g} h{why}."
            )


def _of_closed_locations() -> Iterator[str]:
    waiting: dict[str, list[str]] = {}
    for code, number in still_at_closed_locations():
        waiting.setdefault(code, []).append(number)
    for code, numbers in waiting.items():
        named = ", ".join(numbers[:MOST_NAMED])
        more = len(numbers) - MOST_NAMED
        yield (
            f"{code} is switched off, and {len(numbers):,} packages or transfers wait there:"
            f" {named}{f' and {more:,} more' if more > 0 else ''}."
            f" `oms replan --location {shlex.quote(code)}` sends them elsewhere."
        )


def _arrived(waiting: Waiting) -> datetime | None:
    found = fetch_one(waiting.arrived(), Count) if waiting.arrived is not None else None
    return found.oldest if found is not None else None


def _ago(moment: datetime, now: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, {(now - moment) // timedelta(minutes=1)} min ago"
