"""Commands to a package, and what they have left in the tables."""

from typing import Any

from oms_workers.database import rows
from oms_workers.packages.commands.registry import (
    Request,
    run_command,
)
from oms_workers.packages.models import PackageState, TransferState

CALLER = "tests"


def do(number: str, name: str, **request: Any) -> str:
    return run_command(number, name, Request(**request), actor=CALLER)


def state(number: str = "P1-1") -> PackageState:
    return PackageState(rows("SELECT state FROM packages WHERE number = %s", (number,))[0].state)


def stock(sku: str = "CHAIR", location: str = "GEBZE") -> tuple[int, int]:
    """On hand and reserved."""
    (level,) = rows(
        """
        SELECT on_hand, reserved FROM stock
        JOIN locations ON locations.id = location_id
        WHERE sku = %s AND code = %s
        """,
        (sku, location),
    )
    return level.on_hand, level.reserved


def discrepancies() -> dict[str, int]:
    return dict(
        rows("SELECT sku, sum(quantity)::int FROM reservations WHERE kind = 'discrepancy' GROUP BY sku")
    )


def items(number: str) -> list[tuple[str, int]]:
    return [
        (item.sku, item.quantity)
        for item in rows(
            """
            SELECT package_items.sku, quantity FROM package_items
            JOIN packages ON packages.id = package_id
            WHERE number = %s
            ORDER BY package_items.sku
            """,
            (number,),
        )
    ]


def everything() -> list[Any]:
    tables = (
        "packages",
        "package_items",
        "reservations",
        "stock",
        "stock_movements",
        "audit_events",
        "excluded_locations",
        "orders",
        "transfer_orders",
    )
    return [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def transfer_state(number: str = "T1-1-1") -> TransferState:
    return TransferState(rows("SELECT state FROM transfer_orders WHERE number = %s", (number,))[0].state)
