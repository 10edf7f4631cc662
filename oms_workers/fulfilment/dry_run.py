"""Planning an order as task 2 or 3 would now, and writing nothing."""

from typing import Any

from oms_workers.database import database_now, rows
from oms_workers.fulfilment.models import UNPLANNED_STATES
from oms_workers.fulfilment.planning.plans import Line, OrderToPlan, Plan
from oms_workers.fulfilment.snapshot import take_snapshot
from oms_workers.fulfilment.unplanned import exclusions_of, lines_of
from oms_workers.fulfilment.waiting import open_lines


def plan_without_committing(name: str) -> list[dict[str, Any]]:
    """What would become of the order with this number or Omnitron key; nothing where there is none.

    An order that has packages waiting for another plan is asked about these, any other one about all of its
    lines, as if nothing of it had been planned.
    """
    found = rows(
        """
        SELECT id, number, plan_version, facts
        FROM orders
        WHERE number = %(name)s OR omnitron_id::text = %(name)s
        ORDER BY id
        """,
        {"name": name},
    )
    planned = []
    for order in found:
        parts = _parts_of(order)
        # One planner for all of them: what one package takes is gone for the next.
        planner = take_snapshot({line.sku for _, part in parts for line in part.lines}).planner
        planned += [_show(of, planner.plan(part)) for of, part in parts]
    return planned


def _parts_of(order: Any) -> list[tuple[str, OrderToPlan]]:
    packages = rows(
        "SELECT id, number FROM packages WHERE order_id = %s AND state = ANY(%s) ORDER BY id",
        (order.id, [state.value for state in UNPLANNED_STATES]),
    )
    if not packages:
        return [(f"order {order.number}", _order(order, open_lines([order.id]).get(order.id, []), {}))]
    ids = [package.id for package in packages]
    lines, excluded = lines_of(ids), exclusions_of(ids, database_now())
    return [
        (
            f"package {package.number}",
            _order(order, lines.get(package.id, []), excluded.get(package.id, {})),
        )
        for package in packages
    ]


def _order(order: Any, lines: list[Line], excluded: dict[str, frozenset[int]]) -> OrderToPlan:
    return OrderToPlan(order.id, order.plan_version, order.facts, tuple(lines), excluded=excluded)


def _show(of: str, plan: Plan) -> dict[str, Any]:
    codes = {location.id: location.code for location in rows("SELECT id, code FROM locations")}
    return {
        "of": of,
        "context": plan.context,
        "packages": [
            {
                "location": codes[parcel.location_id],
                "items": _items(parcel.lines),
                "transfers": [
                    {"source": codes[transfer.source_id], "items": _items(transfer.lines)}
                    for transfer in parcel.transfers
                ],
            }
            for parcel in plan.parcels
        ],
        "leftovers": _items(plan.leftovers),
        "hold_reason": plan.hold_reason,
    }


def _items(lines: list[Line]) -> list[dict[str, Any]]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
