"""Scenarios from a merchant's files into their tables, and out of them for the planner."""

from collections.abc import Sequence

from oms_workers.database import execute, jsonb, rows
from oms_workers.fulfilment.planning.scenarios import Rule, Scenario

#: What of a rule has a column of its own; the rest is in `options`.
_COLUMNS = ("name", "filters", "ranking", "mode")


def load_scenarios(scenarios: Sequence[Scenario]) -> int:
    """Add or replace scenarios by name, with all of their rules, in the caller's transaction."""
    for scenario in scenarios:
        plain = scenario.model_dump(mode="json")
        (found,) = rows(
            """
            INSERT INTO scenarios (name, priority, active, conditions)
            VALUES (%s, %s, %s, %s)
            ON CONFLICT (name) DO UPDATE
            SET priority = excluded.priority, active = excluded.active, conditions = excluded.conditions,
                changed_at = clock_timestamp()
            RETURNING id
            """,
            (scenario.name, scenario.priority, scenario.active, jsonb(plain["conditions"])),
        )
        execute("DELETE FROM scenario_rules WHERE scenario_id = %s", (found.id,))
        for position, rule in enumerate(plain["rules"], start=1):
            execute(
                """
                INSERT INTO scenario_rules (scenario_id, position, name, filters, ranking, mode, options)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                """,
                (
                    found.id,
                    position,
                    rule["name"],
                    jsonb(rule["filters"]),
                    jsonb(rule["ranking"]),
                    rule["mode"],
                    jsonb({name: value for name, value in rule.items() if name not in _COLUMNS}),
                ),
            )
    return len(scenarios)


def active_scenarios() -> list[Scenario]:
    """The scenarios to try, in their order, with their rules in theirs."""
    rules: dict[int, list[Rule]] = {}
    for found in rows(
        """
        SELECT scenario_id, name, filters, ranking, mode, options
        FROM scenario_rules
        ORDER BY scenario_id, position
        """
    ):
        columns = {name: getattr(found, name) for name in _COLUMNS}
        rule = Rule.model_validate({**columns, **found.options})
        rules.setdefault(found.scenario_id, []).append(rule)
    return [
        Scenario(
            name=found.name,
            priority=found.priority,
            conditions=found.conditions,
            rules=tuple(rules.get(found.id, ())),
        )
        for found in rows(
            "SELECT id, name, priority, conditions FROM scenarios WHERE active ORDER BY priority, id"
        )
    ]
