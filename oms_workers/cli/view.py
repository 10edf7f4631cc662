"""What `oms up` shows: orders on their way, live on a terminal, a line now and then in a pipe."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.columns import Columns
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from oms_workers.cli.output import age
from oms_workers.database import rows
from oms_workers.fulfilment.models import PackageState
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


def count_orders() -> dict[str, int]:
    """Orders by state, rejected ones and packages included; of a demonstration's size."""
    (found,) = rows(
        """
        SELECT count(*) AS pulled,
               count(*) FILTER (WHERE state = 'waiting') AS waiting,
               count(*) FILTER (WHERE state <> 'waiting') AS planned,
               (SELECT count(*) FROM rejected_orders) AS rejected,
               (SELECT count(*) FROM packages WHERE state <> 1000) AS packages,
               (SELECT count(*) FROM packages WHERE state BETWEEN 500 AND 900) AS packed,
               (SELECT count(*) FROM packages WHERE state = 920) AS out_of_stock,
               (SELECT count(*) FROM order_execution_plans
                WHERE package_id IS NOT NULL AND state = 'completed'
                  AND NOT context ? 'transfer') AS replanned,
               (SELECT count(*) FROM transfer_orders) AS transfers
        FROM orders
        """
    )
    counts: dict[str, int] = found._asdict()
    return counts


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
    found = rows(
        """
        SELECT locations.code, count(packages.id) AS packages
        FROM locations
        LEFT JOIN packages ON packages.location_id = locations.id AND packages.state < 500
        GROUP BY locations.id
        ORDER BY locations.id
        """
    )
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
    found: list[Any] = rows(
        """
        SELECT packages.number, orders.number AS order_number, locations.code, packages.state,
               packages.changed_at,
               (SELECT string_agg(quantity || ' × ' || sku, ', ' ORDER BY id)
                FROM package_items WHERE package_id = packages.id) AS items
        FROM packages
        JOIN orders ON orders.id = packages.order_id
        JOIN locations ON locations.id = packages.location_id
        ORDER BY packages.changed_at DESC, packages.id DESC
        LIMIT %s
        """,
        (limit,),
    )
    shown = Table(box=None, pad_edge=False)
    for column in ("package", "order", "location", "state", "items", ""):
        shown.add_column(column, no_wrap=True)
    for line in found:
        state = PackageState(line.state)
        style = _STYLES.get(state, "green")
        name = Text(state.name.lower(), style=style)
        shown.add_row(
            line.number,
            line.order_number,
            line.code,
            name,
            line.items if len(line.items) <= _MOST_ITEMS else f"{line.items[: _MOST_ITEMS - 1]}…",
            age(line.changed_at, now),
        )
    return shown
