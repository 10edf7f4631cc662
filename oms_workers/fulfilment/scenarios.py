"""Scenarios from a merchant's files into their tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import EXCLUDED, fn

from oms_workers.fulfilment.models import RULE_COLUMNS, Scenario, ScenarioRule
from oms_workers.fulfilment.planning.scenarios import ScenarioSpec
from oms_workers.sets import column


class _NewScenario(NamedTuple):
    name: str
    priority: int
    active: bool
    conditions: dict[str, Any]


class _NewRule(NamedTuple):
    scenario_id: int
    position: int
    name: str
    filters: dict[str, Any]
    ranking: list[str]
    mode: str
    options: dict[str, Any]


def load_scenarios(scenarios: Sequence[ScenarioSpec]) -> int:
    """Add or replace scenarios by name, with all of their rules, in the caller's transaction."""
    for scenario in scenarios:
        plain = scenario.model_dump(mode="json")
        id_ = _upsert(_NewScenario(*(plain[name] for name in _NewScenario._fields)))
        ScenarioRule.delete().where(ScenarioRule.scenario == id_).execute()
        ScenarioRule.insert_set(
            [
                _NewRule(id_, position, **{name: rule.pop(name) for name in RULE_COLUMNS}, options=rule)
                for position, rule in enumerate(plain["rules"], start=1)
            ]
        )
    return len(scenarios)


def _upsert(scenario: _NewScenario) -> int:
    insertion = Scenario.insertion([scenario], changed_at=fn.clock_timestamp()).on_conflict(
        conflict_target=[Scenario.name],
        update={
            Scenario.priority: EXCLUDED.priority,
            Scenario.active: EXCLUDED.active,
            Scenario.conditions: EXCLUDED.conditions,
            Scenario.changed_at: EXCLUDED.changed_at,
        },
    )
    (id_,) = column(insertion.returning(Scenario.id))
    return int(id_)
