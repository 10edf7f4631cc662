"""Scenarios from a merchant's files."""

from collections.abc import Sequence

from oms_workers.database import execute, jsonb, rows
from oms_workers.fulfilment.scenarios import Scenario


def load_scenarios(scenarios: Sequence[Scenario]) -> int:
    """Add or replace scenarios by name, with all of their rules, in the caller's transaction."""
    for scenario in scenarios:
        plain = scenario.model_dump(mode="json")
        (found,) = rows(
            """
            INSERT INTO scenarios (name, priority, active, conditions)
            VALUES (%s, %s, %s, %s)
            ON CONFLICT (name) DO UPDATE
            SET priority = excluded.priority, active = excluded.active, conditions = excluded.conditions
            RETURNING id
            """,
            (scenario.name, scenario.priority, scenario.active, jsonb(plain["conditions"])),
        )
        execute("DELETE FROM scenario_rules WHERE scenario_id = %s", (found.id,))
        for position, rule in enumerate(plain["rules"], start=1):
            execute(
                """
                INSERT INTO scenario_rules (scenario_id, position, name, filters, ranking, mode)
                VALUES (%s, %s, %s, %s, %s, %s)
                """,
                (
                    found.id,
                    position,
                    rule["name"],
                    jsonb(rule["filters"]),
                    jsonb(rule["ranking"]),
                    rule["mode"],
                ),
            )
    return len(scenarios)
