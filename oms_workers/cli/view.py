"""What `oms up` shows: orders on their way, live on a terminal, a line now and then in a pipe."""

from collections.abc import Callable
from datetime import UTC, datetime

from rich.columns import Columns
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from oms_workers.audit_events.door import name_of
from oms_workers.cli.output import age
from oms_workers.operation.progress import count_orders, latest_packages, loads
from oms_workers.packages.models import PackageState
from oms_workers.scheduling import ledger, table

#: The packages that are shown: as many as the terminal has room for beside the rest.
_MOST_LATEST, _LEAST_LATEST = 12, 5
_OTHER_LINES = 24

#: Characters of a package's items, so that the state beside them is whole on a narrow terminal.
_MOST_ITEMS = 24
_STYLES = {
    PackageState.OUT_OF_STOCK: "red",
    PackageState.NEEDS_REPLAN: "red",
    PackageState.WAITING_FOR_TRANSFER: "yellow",
    PackageState.PACKED: "bold green",
    PackageState.CANCELLED: "dim",
}
_BAR_WIDTH = 30


def sentence(counts: dict[str, int]) -> str:
    """The counts in one line."""
    return (
        "{pulled} orders pulled, {waiting} waiting, {planned} planned into {packages} packages, of which"
        " {packed} packed and {out_of_stock} out of stock; {replanned} replanned, {transfers} transfers;"
        " {rejected} rejected"
    ).format_map(counts)


def draw(heading: str, processes: Callable[[], str], *, height: int) -> Group:
    """The whole picture, from one look at the database; what a low terminal cuts off is the least of it."""
    now = datetime.now(UTC)
    latest = max(_LEAST_LATEST, min(_MOST_LATEST, height - _OTHER_LINES))
    return Group(
        Text(heading, style="bold"),
        Text(sentence(count_orders()), style="bold green"),
        Panel(_latest(now, latest), title="latest packages"),
        Columns([Panel(_locations(), title="to be packed"), Panel(_tasks(now), title="tasks")]),
        Text(processes(), style="dim"),
    )


def _locations() -> Table:
    found = loads()
    most = max((line.packages for line in found), default=0) or 1
    shown = Table.grid(padding=(0, 1))
    for line in found:
        shown.add_row(
            line.code, str(line.packages), Text("█" * (_BAR_WIDTH * line.packages // most), style="cyan")
        )
    return shown


def _tasks(now: datetime) -> Table:
    shown = Table("task", "last run", "outcome", "next", box=None, pad_edge=False)
    for task in table.tasks():
        last = ledger.last_run(task.path)
        outcome = "" if last is None else (last.reason or last.state)
        upcoming = age(task.cadence.next(now), now) if task.enabled else "disabled"
        shown.add_row(task.name, age(last.slot if last else None, now), outcome, upcoming)
    return shown


def _latest(now: datetime, limit: int) -> Table:
    shown = Table(box=None, pad_edge=False)
    for column in ("package", "order", "location", "state", "items", ""):
        shown.add_column(column, no_wrap=True)
    for line in latest_packages(limit):
        name = Text(name_of(line.state), style=_STYLES.get(line.state, "green"))
        shown.add_row(
            line.number,
            line.order_number,
            line.code,
            name,
            line.items if len(line.items) <= _MOST_ITEMS else f"{line.items[: _MOST_ITEMS - 1]}…",
            age(line.changed_at, now),
        )
    return shown
