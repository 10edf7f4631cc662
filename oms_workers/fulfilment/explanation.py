"""What is known about an order's way: its lines, each attempt's trace, and its packages."""

from typing import Any

from oms_workers.database import rows
from oms_workers.fulfilment.models import PackageState, TransferState


def explain_orders(name: str) -> list[dict[str, Any]]:
    """The orders with this number or Omnitron key, rejected ones included; usually one, or none."""
    found = rows(
        """
        SELECT id, omnitron_id, number, state, status, plan_version, next_plan_at, line_changes
        FROM orders
        WHERE number = %(name)s OR omnitron_id::text = %(name)s
        ORDER BY id
        """,
        {"name": name},
    )
    return [_explain(order) for order in found] + _rejected(name)


def _explain(order: Any) -> dict[str, Any]:
    return {
        **order._asdict(),
        "lines": _dicts(
            "SELECT id, sku, quantity, status FROM order_items WHERE order_id = %s ORDER BY id", order.id
        ),
        "plans": _dicts(
            """
            SELECT attempt, order_execution_plans.state, order_execution_plans.created_at, context,
                   packages.number AS package
            FROM order_execution_plans
            LEFT JOIN packages ON packages.id = package_id
            WHERE order_execution_plans.order_id = %s
            ORDER BY attempt
            """,
            order.id,
        ),
        "packages": [
            {**package, "state": PackageState(package["state"]).name.lower(), "items": _items(package["id"])}
            for package in _dicts(
                """
                SELECT packages.id, number, locations.code AS location, packages.state, version,
                       replan_attempts
                FROM packages
                JOIN locations ON locations.id = packages.location_id
                WHERE order_id = %s
                ORDER BY packages.id
                """,
                order.id,
            )
        ],
        "transfers": [
            {**transfer, "state": TransferState(transfer["state"]).name.lower()}
            for transfer in _dicts(
                """
                SELECT transfer_orders.number, packages.number AS package, source.code AS source,
                       destination.code AS destination, transfer_orders.state
                FROM transfer_orders
                JOIN packages ON packages.id = package_id
                JOIN locations AS source ON source.id = source_id
                JOIN locations AS destination ON destination.id = destination_id
                WHERE order_id = %s
                ORDER BY transfer_orders.id
                """,
                order.id,
            )
        ],
    }


def _items(package_id: int) -> list[dict[str, Any]]:
    return _dicts("SELECT sku, quantity FROM package_items WHERE package_id = %s ORDER BY id", package_id)


def _rejected(name: str) -> list[dict[str, Any]]:
    """Rejected orders are few, and their number is somewhere in the payload."""
    found = rows(
        """
        SELECT omnitron_id, reason, first_seen_at, last_seen_at, payload
        FROM rejected_orders
        WHERE omnitron_id = %s OR position(%s IN payload) > 0
        ORDER BY id
        """,
        (name, f'"number": "{name}"'),
    )
    return [{"state": "rejected", **order._asdict()} for order in found]


def _dicts(sql: str, *parameters: object) -> list[dict[str, Any]]:
    return [found._asdict() for found in rows(sql, parameters)]
