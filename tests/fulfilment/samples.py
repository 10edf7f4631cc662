"""Locations, stock, scenarios and orders in few words."""

import importlib
from datetime import UTC, datetime
from typing import Any

from oms_workers.database import connection, database, database_now, rows, transaction
from oms_workers.fulfilment.planning.plans import LineToPlan, LocationToPlan, OrderToPlan, Plan
from oms_workers.fulfilment.planning.scenarios import Rule, ScenarioSpec
from oms_workers.fulfilment.scenarios import load_scenarios
from oms_workers.packages.counting import count_stock
from oms_workers.packages.reconciliation import miscounted, ownerless, uncovered
from oms_workers.reservations.loading import LocationSpec, StockSpec, load_locations
from oms_workers.reservations.proof import unproven

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_location(id_: int, code: str, **fields: Any) -> LocationToPlan:
    default = {"id": id_, "code": code, "type": "store", "active": True, "priority": 0}
    return LocationToPlan(**{**default, **fields})


def an_order(*lines: tuple[str, int], id_: int = 1, **facts: str) -> OrderToPlan:
    numbered = tuple(LineToPlan(100 * id_ + n, *line) for n, line in enumerate(lines, start=1))
    return OrderToPlan(id_, 0, facts, numbered)


def a_scenario(*rules: dict[str, Any], **fields: Any) -> ScenarioSpec:
    named = tuple(Rule.model_validate({"name": f"rule {n}", **rule}) for n, rule in enumerate(rules, start=1))
    return ScenarioSpec(**{"name": "a scenario", "rules": named, **fields})


def placed(plan: Plan) -> dict[int, list[tuple[str, int]]]:
    """What goes where, by location's id."""
    return {
        parcel.location_id: [(line.sku, line.quantity) for line in parcel.lines] for parcel in plan.parcels
    }


def left(plan: Plan) -> list[tuple[str, int]]:
    return [(line.sku, line.quantity) for line in plan.leftovers]


def verdicts(plan: Plan, rule: int = 0) -> dict[str, str]:
    """The reason that the trace gives for each location, by code."""
    return {entry["location"]: entry["verdict"] for entry in plan.context["rules"][rule]["locations"]}


def load_merchant(
    locations: dict[str, dict[str, Any]],
    stock: dict[tuple[str, str], int],
    *scenarios: ScenarioSpec,
) -> None:
    """Put a merchant into the database; the first location is the default one."""
    specs = [
        LocationSpec(
            **{"code": code, "name": code.title(), "type": "store", "is_default": number == 0, **fields}
        )
        for number, (code, fields) in enumerate(locations.items())
    ]
    levels = [StockSpec(sku=sku, location=code, on_hand=units) for (sku, code), units in stock.items()]
    with connection(), transaction():
        load_locations(specs)
        count_stock(levels, at=database_now())
        load_scenarios(scenarios)


#: Lines of orders that are planned or settled whose units are not, all of them and each once, in packages
#: that nothing has replaced; and lines of orders that wait or are held that are in packages.
MISPLACED = """
    SELECT order_items.id, orders.state, order_items.quantity, sum(package_items.quantity) AS placed
    FROM order_items
    JOIN orders ON orders.id = order_items.order_id
    LEFT JOIN (
        package_items JOIN packages ON packages.id = package_id AND NOT EXISTS (
            SELECT FROM audit_events
            WHERE object_type = 'package' AND object_id = packages.id AND action = 'superseded'
        )
    ) ON package_items.order_item_id = order_items.id
    WHERE order_items.status = '400'
    GROUP BY order_items.id, orders.id
    HAVING coalesce(sum(package_items.quantity), 0) <> CASE
        WHEN orders.state IN ('planned', 'settled') THEN order_items.quantity ELSE 0
    END
"""

#: Packages that wait for a transfer while there is none that could still come.
FORGOTTEN = """
    SELECT number
    FROM packages
    WHERE state = 150
      AND NOT EXISTS (
          SELECT FROM transfer_orders AS transfer
          WHERE package_id = packages.id AND transfer.state NOT IN (400, 1000)
      )
"""


def note_edits() -> None:
    """Make movements of what a test has written into the counters, as the migration does."""
    importlib.import_module("oms_workers.migrations.0012_before_opening_movements").up(None, database)


def assert_books_balance() -> None:
    """Counters equal what they count and their movements, and what lives holds what it needs, and no more."""
    assert (miscounted(), ownerless(), uncovered(), unproven()) == ([], [], [], [])


def assert_every_line_is_somewhere() -> None:
    """Every line of an order is in one place, exactly once, from which somebody takes it on."""
    assert rows(MISPLACED) == []
    assert rows(FORGOTTEN) == []


def assert_sound() -> None:
    """The books balance, nothing is oversold, and every line is somewhere exactly once."""
    assert_books_balance()
    assert rows("SELECT sku, location_id FROM stock WHERE reserved > greatest(on_hand, 0)") == []
    assert_every_line_is_somewhere()
