"""What waits or went wrong, one by one, as commands list it: so many, and how many more there are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from oms_workers.audit_events.door import name_of
from oms_workers.audit_events.latest import said_reason
from oms_workers.orders.listing import ListedOrder, OrderList, rejected_orders, waiting_orders
from oms_workers.packages.listing import waiting_packages
from oms_workers.packages.models import PackageState
from oms_workers.scheduling import runs, table
from oms_workers.scheduling.models import RunState


def list_orders(kind: OrderList, *, since: datetime | None, limit: int, now: datetime) -> dict[str, Any]:
    """The orders of a kind, the longest waiting first."""
    if kind is OrderList.REJECTED:
        rejects = rejected_orders(since=since, limit=limit)
        lines = [
            {
                "number": reject.number,
                "omnitron_id": reject.omnitron_id,
                "state": "rejected",
                "since": reject.first_seen_at,
                "age_seconds": _age(reject.first_seen_at, now),
                "reason": reject.reason,
            }
            for reject in rejects
        ]
        return _listing("orders", lines, rejects)
    orders = waiting_orders(kind, since=since, limit=limit)
    return _listing("orders", [_order(order, kind, now) for order in orders], orders)


def list_rejects(*, are_dismissed: bool, since: datetime | None, limit: int, now: datetime) -> dict[str, Any]:
    """The rejected orders, the oldest first: those that nobody has dismissed, or those that somebody has."""
    rejects = rejected_orders(since=since, limit=limit, are_dismissed=are_dismissed)
    lines = [
        {
            "omnitron_id": reject.omnitron_id,
            "number": reject.number,
            "since": reject.first_seen_at,
            "age_seconds": _age(reject.first_seen_at, now),
            "attempts": reject.attempts,
            "last_attempt_at": reject.last_seen_at,
            "next_attempt_at": reject.next_attempt_at,
            "reason": reject.reason,
            "dismissed_at": reject.dismissed_at,
            "dismissed_by": reject.dismissed_by if are_dismissed else None,
            "dismissed_reason": reject.dismissed_reason if are_dismissed else None,
        }
        for reject in rejects
    ]
    return _listing("rejects", lines, rejects)


def _order(order: ListedOrder, kind: OrderList, now: datetime) -> dict[str, Any]:
    return {
        "number": order.number,
        "omnitron_id": order.omnitron_id,
        "state": order.state,
        "since": order.placed_at,
        "age_seconds": _age(order.placed_at, now),
        "reason": _why(order, kind, now),
    }


def _why(order: ListedOrder, kind: OrderList, now: datetime) -> str:
    if kind is OrderList.CHANGED:
        return "its lines changed in Omnitron after it was planned"
    said = said_reason(order.content)
    if order.state == "waiting" and order.next_plan_at > now:
        put_off = f"put off until {order.next_plan_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{put_off}: {said}" if said else put_off
    return said or ""


def list_packages(
    state: PackageState, *, since: datetime | None, limit: int, now: datetime
) -> dict[str, Any]:
    """The packages in a state, the longest waiting first."""
    packages = waiting_packages(state, since=since, limit=limit)
    lines = [
        {
            "number": package.number,
            "order": package.order_number,
            "location": package.location,
            "state": name_of(package.state),
            "version": package.version,
            "replan_attempts": package.replan_attempts,
            "since": package.changed_at,
            "age_seconds": _age(package.changed_at, now),
            "reason": package.reason,
        }
        for package in packages
    ]
    return _listing("packages", lines, packages)


def list_runs(
    states: Sequence[RunState], *, task: str | None, since: datetime | None, limit: int, now: datetime
) -> dict[str, Any]:
    """The runs in these states, the newest first; `name` is None for a task that has left the table."""
    names = {task.path: task.name for task in table.tasks()}
    found = runs.newest_runs(states, task=task, since=since, limit=limit)
    lines = [
        {
            "name": names.get(run.task),
            "task": run.task,
            "slot": run.slot,
            "age_seconds": _age(run.slot, now),
            "state": run.state,
            "reason": run.reason,
            "trigger": run.trigger,
            "attempts": run.attempts,
            "next_attempt_at": run.next_attempt_at,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "error": run.error,
        }
        for run in found
    ]
    return _listing("runs", lines, found)


def _listing(name: str, lines: list[dict[str, Any]], rows: Sequence[Any]) -> dict[str, Any]:
    return {name: lines, "more": rows[0].total - len(rows) if rows else 0}


def _age(moment: datetime, now: datetime) -> float:
    return round((now - moment).total_seconds(), 1)
