"""`oms status`: what ran, what did not, what waits."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from oms_workers.cli.output import age, console, print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.operation.status import collect


def status(
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong, and end with status 1 if anything is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show clock, workers, queues, each task's last run, what waits in each state, and what is wrong.

    With --check the status is 1 when the clock is silent, no worker lives, a task is late, something waits
    too long, or a stamp lies in the future.

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
    result = ", ".join(f"{key} {value}" for key, value in (last.get("result") or {}).items() if value)
    return (
        task["name"],
        "yes" if task["enabled"] else "no",
        age(last.get("slot"), now),
        outcome or "never ran",
        took,
        age(task["next"], now) if task["next"] else "",
        result,
    )
