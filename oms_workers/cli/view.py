"""What `oms up` shows: orders on their way, live on a terminal, a line now and then in a pipe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from oms_workers.audit_events.door import name_of
from oms_workers.cli.output import age
from oms_workers.operation.progress import LatestPackage, LocationLoad, count_orders, latest_packages, loads
from oms_workers.packages.models import PackageState
from oms_workers.scheduling import ledger, table

#: From this width on the tasks stand beside the locations; below it, above them.
_WIDE = 110

#: The tasks' table is so wide: its longest name, and three columns of times and outcomes.
_TASKS_WIDTH = 68

#: So many packages to pack are a full bar, unless a location has more.
_FULL_BAR = 20

#: The most packages that any terminal has lines for.
_MOST_LATEST = 200

#: Of a low terminal's lines, packages and what stands around them take ten, and tasks at least four.
_LINES_BESIDE = 10
_LEAST_TASKS = 4

#: The findings that are shown at once; `oms status --check` has them all.
_MOST_FINDINGS = 3

_STYLES = {
    PackageState.OUT_OF_STOCK: "red",
    PackageState.NEEDS_REPLAN: "red",
    PackageState.WAITING_FOR_TRANSFER: "yellow",
    PackageState.PACKED: "bold green",
    PackageState.CANCELLED: "dim",
}

_HEADING = "oms up: orders become packages, which are packed or not found. Ctrl-C stops all."


class TaskLine(NamedTuple):
    """A task's last run, and when it runs next; None where it is disabled."""

    name: str
    last: datetime | None
    outcome: str
    upcoming: datetime | None


@dataclass(frozen=True)
class Picture:
    """One look at everything that is shown. `findings` are what `oms status --check` says."""

    now: datetime
    counts: dict[str, int]
    packages: Sequence[LatestPackage]
    locations: Sequence[LocationLoad]
    tasks: Sequence[TaskLine]
    findings: Sequence[str]
    footer: str


def sentence(counts: dict[str, int]) -> str:
    """The counts in one line."""
    return (
        "{pulled} orders pulled, {waiting} waiting, {planned} planned into {packages} packages, of which"
        " {packed} packed and {out_of_stock} out of stock; {replanned} replanned, {transfers} transfers;"
        " {rejected} rejected"
    ).format_map(counts)


def look(findings: Sequence[str], footer: str, *, height: int) -> Picture:
    """Look at the database once, for a terminal of so many lines."""
    now = datetime.now(UTC)
    latest = latest_packages(min(height, _MOST_LATEST))
    return Picture(now, count_orders(), latest, loads(), _tasks(now), findings, footer)


def _tasks(now: datetime) -> list[TaskLine]:
    lines = []
    for task in table.tasks():
        last = ledger.last_run(task.path)
        outcome = "never ran" if last is None else (last.reason or last.state)
        upcoming = task.cadence.next(now) if task.enabled else None
        lines.append(TaskLine(task.name, last.slot if last else None, outcome, upcoming))
    return lines


def arrange(picture: Picture, *, width: int, height: int) -> Group:
    """The picture in so many columns and lines: tasks, and as many packages as there is room for."""
    head = [_line(_HEADING, "bold"), *_state(picture, width)]
    middle, lines = _work(replace(picture, tasks=chosen_tasks(picture.tasks, height)), width)
    # The heading of the packages and the footer take one line each.
    room = height - len(head) - lines - 2
    return Group(*head, middle, _packages(picture, max(1, room)), _line(picture.footer, "dim"))


def chosen_tasks(tasks: Sequence[TaskLine], height: int) -> list[TaskLine]:
    """The tasks that about half of the lines have room for: what failed, and what ran last."""
    room = max(_LEAST_TASKS, (height - _LINES_BESIDE) // 2)
    if len(tasks) <= room:
        return [*tasks]
    never = datetime.min.replace(tzinfo=UTC)
    ranked = sorted(tasks, key=lambda line: (line.outcome == "failed", line.last or never), reverse=True)
    chosen = {line.name for line in ranked[: room - 1]}
    more = TaskLine(f"and {len(tasks) - room + 1} more: see oms status", None, "", None)
    return [*(line for line in tasks if line.name in chosen), more]


def _state(picture: Picture, width: int) -> list[Text]:
    """The counts, green only while nothing is wrong, and what is; each text is one line."""
    wrong = [_line(f"! {finding}", "bold red") for finding in picture.findings[:_MOST_FINDINGS]]
    counts = Text(sentence(picture.counts), style="bold red" if wrong else "bold green")
    return [*counts.wrap(Console(width=width), width), *wrong]


def _line(text: str, style: str) -> Text:
    """A text that takes one line, whatever the width."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _work(picture: Picture, width: int) -> tuple[RenderableType, int]:
    """The tasks and what the locations have to pack, and how many lines both take."""
    tasks = _table_of_tasks(picture)
    if width < _WIDE:
        shown = "  ".join(f"{line.code} {line.packages}" for line in picture.locations)
        return Group(tasks, _line(f"to pack: {shown}", "cyan")), len(picture.tasks) + 2
    grid = Table.grid(padding=(0, 3))
    grid.add_row(tasks, _bars(picture.locations, width - _TASKS_WIDTH - 3))
    return grid, 1 + max(len(picture.tasks), len(picture.locations))


def _bars(locations: Sequence[LocationLoad], width: int) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("to pack at")
    shown.add_column("", justify="right")
    shown.add_column("")
    longest = max((len(line.code) for line in locations), default=0)
    room = max(1, width - max(longest, len("to pack at")) - 8)
    most = max([_FULL_BAR, *(line.packages for line in locations)])
    for line in locations:
        length = -(-room * line.packages // most)
        shown.add_row(line.code, str(line.packages), Text("█" * length, style="cyan"))
    return shown


def _table_of_tasks(picture: Picture) -> Table:
    shown = Table(box=None, pad_edge=False)
    for name in ("task", "last run", "outcome", "next"):
        shown.add_column(name, no_wrap=True)
    for line in picture.tasks:
        upcoming = age(line.upcoming, picture.now) if line.upcoming else "disabled"
        style = "red" if line.outcome == "failed" else ""
        if line.outcome:
            shown.add_row(line.name, age(line.last, picture.now), Text(line.outcome, style=style), upcoming)
        else:
            shown.add_row(line.name)
    return shown


def _packages(picture: Picture, room: int) -> Table:
    shown = Table(box=None, pad_edge=False, expand=True)
    for column in ("package", "order", "location", "state"):
        shown.add_column(column, no_wrap=True)
    shown.add_column("items", no_wrap=True, overflow="ellipsis", ratio=1)
    shown.add_column("changed", no_wrap=True, justify="right")
    for line in picture.packages[:room]:
        state = Text(name_of(line.state), style=_STYLES.get(line.state, "green"))
        changed = age(line.changed_at, picture.now)
        shown.add_row(line.number, line.order_number, line.code, state, line.items, changed)
    return shown
