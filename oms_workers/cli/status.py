"""`oms status`: what ran, what did not, what waits."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from oms_workers.cli.output import age, console, in_words, megabytes, print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.operation.status import collect

#: Smaller tables are of no interest to a disk, and a screen has room for no more.
SHOWN_FROM = 10 * 1024 * 1024
MOST_SHOWN = 10


def status(
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong, and end with status 1 if anything is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show clock, workers, queues, each task's last run, large tables, what waits, and what is wrong.

    With --check the status is 1 when the clock is silent, no worker lives, a task is late, something waits
    too long, or a stamp lies in the future. So it is when a table grows faster than it is cleaned.

    Example: oms status --json
    Example: oms status --check
    """
    begin()
    now = datetime.now(UTC)
    found = collect(now)
    if as_json:
        print_json(found)
    elif not check:
        _print(found, now)
    elif not found["findings"]:
        print("Everything moves.")
    if check and found["findings"]:
        if not as_json:
            print("\n".join(found["findings"]), file=sys.stderr)
        sys.exit(1)
    if found["problem"]:
        print(found["problem"], file=sys.stderr)
        sys.exit(1)


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
    queues = [queue for queue in found["queues"] or () if queue["depth"] or _waits(queue, found, now)]
    if queues:
        print_table(
            ("queue", "waiting", "oldest", "for a thread"),
            [
                (queue["name"], queue["depth"], age(queue["oldest"], now), _waits(queue, found, now))
                for queue in queues
            ],
            title="\nQueues",
        )
    _print_tables(found["tables"])
    waiting = [line for line in found["backlog"] if line["count"]]
    if waiting:
        print_table(
            ("state", "count", "oldest", ""),
            [(line["state"], line["count"], age(line["oldest"], now), line["stuck"]) for line in waiting],
            title="\nBacklog",
        )
    else:
        console().print("\nNothing waits.")
    for finding in found["findings"]:
        console().print(f"\n! {finding}", style="bold red", markup=False, end="")
    console().print()


def _print_tables(tables: list[dict[str, Any]]) -> None:
    """The largest tables; the others are in the JSON."""
    largest = [line for line in tables if line["bytes"] >= SHOWN_FROM][:MOST_SHOWN]
    if largest:
        columns = ("table", "size", "rows, about", "growth a day", "rows a day")
        print_table(columns, [_of_table(line) for line in largest], title="\nTables")


def _of_table(line: dict[str, Any]) -> tuple[object, ...]:
    grown, rows = line["bytes_a_day"], line["rows_a_day"]
    return (
        line["name"],
        megabytes(line["bytes"]),
        f"{line['rows']:,}",
        "not known yet" if grown is None else megabytes(grown),
        "" if rows is None else f"{rows:,}",
    )


def _waits(queue: dict[str, Any], found: dict[str, Any], now: datetime) -> str:
    """What waits for a thread, and since when; a task by its name."""
    names = {task["task"]: task["name"] for task in found["tasks"]}
    return ", ".join(
        f"{names.get(line['actor'], line['actor'])} {age(line['oldest'], now)}" for line in queue["waiting"]
    )


def _line(task: dict[str, Any], now: datetime) -> tuple[object, ...]:
    last = task["last_run"] or {}
    outcome = " ".join(str(last[key]) for key in ("state", "reason", "error") if last.get(key))
    took = "" if last.get("seconds") is None else f"{last['seconds']} s"
    result = in_words({key: value for key, value in (last.get("result") or {}).items() if value})
    return (
        task["name"],
        "yes" if task["enabled"] else "no",
        age(last.get("slot"), now),
        outcome or "never ran",
        took,
        age(task["next"], now) if task["next"] else "",
        result,
    )
