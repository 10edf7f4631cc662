"""Scenarios from a merchant's files into their tables, and out of them for the planner."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import EXCLUDED, fn

from oms_workers.fulfilment.models import Scenario, ScenarioRule
from oms_workers.fulfilment.planning.scenarios import Rule, ScenarioSpec
from oms_workers.sets import column, fetch

#: What of a rule has a column of its own; the rest is in `options`.
_COLUMNS = ("name", "filters", "ranking", "mode")


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


class _ScenarioRow(NamedTuple):
    id: int
    name: str
    priority: int
    conditions: dict[str, Any]


class _RuleRow(NamedTuple):
    scenario_id: int
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
                _NewRule(id_, position, **{name: rule.pop(name) for name in _COLUMNS}, options=rule)
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


def active_scenarios() -> list[ScenarioSpec]:
    """The scenarios to try, in their order, with their rules in theirs."""
    rules: dict[int, list[Rule]] = {}
    for found in fetch(_rules(), _RuleRow):
        columns = {name: getattr(found, name) for name in _COLUMNS}
        rule = Rule.model_validate({**columns, **found.options})
        rules.setdefault(found.scenario_id, []).append(rule)
    return [
        ScenarioSpec(name=name, priority=priority, conditions=conditions, rules=tuple(rules.get(id_, ())))
        for id_, name, priority, conditions in fetch(_active(), _ScenarioRow)
    ]


def _rules() -> Any:
    return ScenarioRule.select(
        ScenarioRule.scenario,
        ScenarioRule.name,
        ScenarioRule.filters,
        ScenarioRule.ranking,
        ScenarioRule.mode,
        ScenarioRule.options,
    ).order_by(ScenarioRule.scenario, ScenarioRule.position)


def _active() -> Any:
    return (
        Scenario.select(Scenario.id, Scenario.name, Scenario.priority, Scenario.conditions)
        .where(Scenario.active)
        .order_by(Scenario.priority, Scenario.id)
    )
