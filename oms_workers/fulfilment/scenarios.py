"""What a merchant may write in a scenario, checked by name, and what the planner reads of it."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from oms_workers.orders.parsing import FACTS


class Mode(StrEnum):
    """How a rule gives lines to its locations.

    `single`: all that is left at one location, or nothing. `greedy`: each location in rank takes what it can.
    """

    SINGLE = "single"
    GREEDY = "greedy"


#: What a rule may rank locations by: the smaller comes first, or with a minus the larger.
CRITERIA = ("priority", "stock_amount")


def _criterion(text: str) -> str:
    if text.removeprefix("-") not in CRITERIA:
        raise ValueError(
            f"{text!r} is no ranking; there are {', '.join(CRITERIA)}, each with a minus for descending"
        )
    return text


def _conditions(conditions: dict[str, Any]) -> dict[str, Any]:
    unknown = [name for name in conditions if name not in FACTS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no condition; there are {', '.join(FACTS)}")
    return conditions


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filters(_Checked):
    """Which locations a rule may use; what is absent does not restrict."""

    locations: frozenset[str] | None = None
    except_locations: frozenset[str] = frozenset()
    types: frozenset[str] | None = None


class Rule(_Checked):
    """One link of a scenario's chain, for the lines that the links before it could not place."""

    name: Annotated[str, Field(min_length=1)]
    filters: Filters = Filters()
    ranking: tuple[Annotated[str, AfterValidator(_criterion)], ...] = ()
    mode: Mode = Mode.GREEDY


class Scenario(_Checked):
    """The chain of rules for the orders that match every condition; the lowest priority is tried first."""

    name: Annotated[str, Field(min_length=1)]
    priority: int = 0
    active: bool = True
    conditions: Annotated[dict[str, frozenset[str]], AfterValidator(_conditions)] = {}
    rules: tuple[Rule, ...] = ()

    def matches(self, facts: dict[str, str]) -> bool:
        """Whether each condition names the order's fact; an absent condition matches any."""
        return all(facts.get(name) in allowed for name, allowed in self.conditions.items())
