"""Scenarios: from a merchant's files into their tables, and from there to the planner."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.fulfilment.models import RULE_COLUMNS, Scenario, ScenarioRule
from oms_workers.fulfilment.planning.scenarios import Filters, Rule, ScenarioSpec
from oms_workers.merchant_values import STORED, Misfit, refuse, repeated
from oms_workers.normal_form import normal_form
from oms_workers.reservations.codes import Codes
from oms_workers.reservations.models import Location
from oms_workers.sets import column, columns_of, constant, fetch

#: A rule's filters, by the names that they have in a file.
_FILTERS = ("filters", "transfer_from")

#: The lists of a filter: an empty one of the first two lets no location through.
_LISTS = ("locations", "types", "except_locations")
_RESTRICTING = _LISTS[:2]


class _ScenarioRow(NamedTuple):
    id: int
    name: str
    priority: int
    conditions: dict[str, Any]


class _RuleRow(NamedTuple):
    scenario_id: int
    position: int
    name: str
    filters: dict[str, Any]
    ranking: list[str]
    mode: str
    options: dict[str, Any]


class _Known(NamedTuple):
    name: str
    id: int


def active_scenarios() -> list[ScenarioSpec]:
    """The scenarios to try, in their order, with their rules in theirs."""
    rules: dict[int, list[Rule]] = {}
    for found in fetch(_active_rules(), _RuleRow):
        columns = {name: getattr(found, name) for name in RULE_COLUMNS}
        rule = Rule.model_validate({**columns, **found.options}, context=STORED)
        rules.setdefault(found.scenario_id, []).append(rule)
    return [
        ScenarioSpec.model_validate(
            {
                "name": found.name,
                "priority": found.priority,
                "conditions": found.conditions,
                "rules": tuple(rules.get(found.id, ())),
            },
            context=STORED,
        )
        for found in fetch(_active(), _ScenarioRow)
    ]


def _active_rules() -> Any:
    query = ScenarioRule.select(*columns_of(ScenarioRule, _RuleRow)).join(Scenario).where(Scenario.active)
    return query.order_by(ScenarioRule.scenario, ScenarioRule.position)


def _active() -> Any:
    query = Scenario.select(*columns_of(Scenario, _ScenarioRow)).where(Scenario.active)
    return query.order_by(Scenario.priority, Scenario.id)


def load_scenarios(scenarios: Sequence[ScenarioSpec]) -> int:
    """Add or change scenarios by name, in the caller's transaction.

    What a file leaves out stays as it is. Rules that it gives replace all of the scenario's rules.
    Raises `LoadError`.
    """
    known = _known_scenarios()
    refuse(_misfits(scenarios, known.keys()))
    spelling = _Spelling()
    for scenario in scenarios:
        plain = scenario.model_dump(mode="json")
        given = {name: plain[name] for name in plain if name in scenario.model_fields_set}
        rules = given.pop("rules", None)
        id_ = known.get(normal_form(scenario.name))
        id_ = _add(plain) if id_ is None else _change(id_, given)
        if rules is not None:
            _replace_rules(id_, [spelling.of_rule(rule) for rule in rules])
    return len(scenarios)


def _known_scenarios() -> dict[str, int]:
    """The ids by the normal forms of the names; of names that are alike the oldest counts."""
    found = fetch(Scenario.select(Scenario.name, Scenario.id).order_by(Scenario.id.desc()), _Known)
    return {normal_form(name): id_ for name, id_ in found}


class _Spelling:
    """How the locations and types of rules are stored: the planner compares them letter by letter."""

    def __init__(self) -> None:
        self._codes = Codes()
        self._types: defaultdict[str, list[str]] = defaultdict(list)
        for type_ in column(Location.select(Location.type).distinct().order_by(Location.type)):
            self._types[normal_form(type_)].append(type_)

    def find(self, kind: str, name: str) -> list[str]:
        """The stored codes, or types, that are meant; none where there is no such one."""
        return self._types[normal_form(name)] if kind == "types" else self._codes.find(name)

    def types(self) -> list[str]:
        return sorted(type_ for alike in self._types.values() for type_ in alike)

    def of_rule(self, rule: dict[str, Any]) -> dict[str, Any]:
        """The rule with what its filters name as it is stored; strangers stay, to be refused."""
        for filters in (rule[name] for name in _FILTERS):
            for kind in _LISTS:
                given = filters[kind]
                if given is not None:
                    filters[kind] = sorted(
                        {alike for name in given for alike in self.find(kind, name) or [name]}
                    )
        return rule


def refuse_strangers(scenarios: Sequence[ScenarioSpec]) -> None:
    """Raise `LoadError` for a rule that names a location or a type that does not exist.

    It would in silence never use them.
    """
    spelling = _Spelling()
    refuse(
        Misfit(row, f"{path}.{kind}", repr(name), _unknown(kind, spelling.types()))
        for row, path, filters in _filters_of(scenarios)
        for kind in _LISTS
        for name in sorted(getattr(filters, kind) or frozenset())
        if not spelling.find(kind, name)
    )


def _unknown(kind: str, types: list[str]) -> str:
    if kind == "types":
        return f"no location has this type; there are {', '.join(types) or 'none'}"
    return "no such location is known; load it first, or mend the name"


def _misfits(scenarios: Sequence[ScenarioSpec], known: Any) -> Iterator[Misfit]:
    for row in repeated(normal_form(scenario.name) for scenario in scenarios):
        yield Misfit(row, "name", repr(scenarios[row].name), "is given twice; leave one of them out")
    for row, scenario in enumerate(scenarios):
        if "rules" not in scenario.model_fields_set and normal_form(scenario.name) not in known:
            yield Misfit(row, "rules", "", f"the scenario {scenario.name!r} is new and needs rules")
        for number in repeated(normal_form(rule.name) for rule in scenario.rules):
            name = scenario.rules[number].name
            yield Misfit(row, f"rules.{number}.name", repr(name), "is the name of another rule before it")
        for path, problem in _empty_lists(scenario):
            yield Misfit(row, path, "[]", problem)


def _empty_lists(scenario: ScenarioSpec) -> Iterator[tuple[str, str]]:
    """The lists without which nothing would ever match, with their places and what to do."""
    if "rules" in scenario.model_fields_set and not scenario.rules:
        yield "rules", "a scenario without rules places nothing; leave rules out to keep those it has"
    for fact, values in scenario.conditions.items():
        if not values:
            yield f"conditions.{fact}", "no order matches an empty list; leave it out to match all"
    for _, path, filters in _filters_of([scenario]):
        for name in _RESTRICTING:
            if getattr(filters, name) == frozenset():
                yield f"{path}.{name}", "an empty list lets no location through; leave it out to let all"


def _filters_of(scenarios: Sequence[ScenarioSpec]) -> Iterator[tuple[int, str, Filters]]:
    """Each filter with the row of its scenario and its path there."""
    for row, scenario in enumerate(scenarios):
        for number, rule in enumerate(scenario.rules):
            for name in _FILTERS:
                yield row, f"rules.{number}.{name}", getattr(rule, name)


def _add(plain: dict[str, Any]) -> int:
    columns = {name: plain[name] for name in ("name", "priority", "active", "conditions")}
    return int(Scenario.insert(columns).execute())


def _change(id_: int, given: dict[str, Any]) -> int:
    # The scenario is found by its name, which stays.
    fields = {Scenario._meta.columns[name]: value for name, value in given.items() if name != "name"}
    changed = {field: constant(field, value) for field, value in fields.items()}
    update = Scenario.update({Scenario.changed_at: fn.clock_timestamp(), **changed})
    update.where(Scenario.id == id_).execute()
    return id_


def _replace_rules(id_: int, rules: list[dict[str, Any]]) -> None:
    ScenarioRule.delete().where(ScenarioRule.scenario == id_).execute()
    ScenarioRule.insert_set(
        [
            _RuleRow(id_, position, **{name: rule.pop(name) for name in RULE_COLUMNS}, options=rule)
            for position, rule in enumerate(rules, start=1)
        ]
    )
