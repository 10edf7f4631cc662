"""`oms schedules`: what runs when, and which variable says so. It needs no server."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer

import settings
from oms_workers.cli.arguments import text
from oms_workers.cli.instants import instant
from oms_workers.cli.output import print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.configuration.cadence import Cadence, Interval
from oms_workers.scheduling import table
from oms_workers.scheduling.table import Task


def schedules(
    next_: Annotated[int, typer.Option("--next", min=0, max=1000, help="How many slots of each task.")] = 3,
    now: Annotated[
        str | None,
        typer.Option(help="An instant, ISO 8601; by default the clock's.", callback=text("--now")),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show each task: enabled, cadence, the variable that set it, the next slots.

    Example: oms schedules --next 5 --now 2026-03-29T00:00:00+01:00
    """
    configuration = begin(need_servers=False)
    after = instant(now) if now else datetime.now(UTC)
    found = [
        _describe(task, islice(_slots(task.cadence, after), next_), configuration) for task in table.tasks()
    ]
    if as_json:
        print_json(found)
        return
    print_table(
        ("task", "enabled", "cadence", "set by", f"next, in {configuration.time_zone}"),
        [
            (
                task["name"],
                "yes" if task["enabled"] else "no",
                f"every {task['seconds']} s" if task["kind"] == "interval" else task["crontab"],
                task["source"],
                "  ".join(f"{slot:%Y-%m-%d %H:%M:%S}" for slot in task["next"]),
            )
            for task in found
        ],
    )


def _slots(cadence: Cadence, after: datetime) -> Iterator[datetime]:
    while True:
        after = cadence.next(after)
        yield after


def _describe(task: Task, slots: Iterable[datetime], configuration: settings.Settings) -> dict[str, Any]:
    cadence = task.cadence
    return {
        "name": task.name,
        "task": task.path,
        "env_key": task.env_key,
        "enabled": task.enabled,
        "kind": "interval" if isinstance(cadence, Interval) else "crontab",
        "crontab": cadence.crontab(),
        "seconds": cadence.seconds if isinstance(cadence, Interval) else None,
        "source": task.source,
        "next": [slot.astimezone(configuration.zone) for slot in slots],
    }
