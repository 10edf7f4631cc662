"""What a merchant may write in a scenario, checked by name, and what the planner reads of it."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from oms_workers.merchant_values import Amount, Name, Reason, Whole
from oms_workers.normal_form import normal_form
from oms_workers.orders.parsing import FACTS


class Mode(StrEnum):
    """How a rule gives lines to its locations.

    `single`: all that is left at one location, or nothing. `fewest_splits`: the smallest number of locations
    that have it all. `greedy`: each location in rank takes what it can.
    """

    SINGLE = "single"
    FEWEST_SPLITS = "fewest_splits"
    GREEDY = "greedy"


class RuleOutcome(StrEnum):
    """What becomes of the lines that a rule could not place.

    `next_rule`: the next rule tries. `hold`: the whole order is held for a person. `auto_cancel`: they wait
    out of stock, and are cancelled after `cancel_after_days`.
    """

    NEXT_RULE = "next_rule"
    HOLD = "hold"
    AUTO_CANCEL = "auto_cancel"


#: What a rule may rank locations by: the smaller comes first, or with a minus the larger.
CRITERIA = ("priority", "stock_amount", "package_density", "distance")


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
    """Which locations a rule may use; what is absent does not restrict.

    `same_country`, `same_state` and `same_district` compare with the order's shipping address; a location or
    an order without the value is not the same.
    """

    locations: frozenset[Name] | None = None
    except_locations: frozenset[Name] = frozenset()
    types: frozenset[Name] | None = None
    same_country: bool = False
    same_state: bool = False
    same_district: bool = False


class Rule(_Checked):
    """One link of a scenario's chain, for the lines that the links before it could not place.

    `allow_partial` is whether the rule may leave lines behind: by default only `greedy` may.
    `max_packages` bounds the locations that it uses. `min_package_value` is what each of its packages, and
    whatever it leaves behind, must be worth at least; otherwise its result is dropped. A `transferable` rule
    of mode `single` has what its location lacks brought there by transfer orders from the locations that
    pass `transfer_from`.
    """

    name: Name
    filters: Filters = Filters()
    ranking: tuple[Annotated[str, AfterValidator(_criterion)], ...] = ()
    mode: Mode = Mode.GREEDY
    allow_partial: bool | None = None
    max_packages: Annotated[Whole | None, Field(ge=1)] = None
    min_package_value: Amount | None = None
    transferable: bool = False
    transfer_from: Filters = Filters()
    outcome: RuleOutcome = RuleOutcome.NEXT_RULE
    hold_reason: Reason | None = None
    cancel_after_days: Annotated[Whole | None, Field(ge=0, le=365)] = None

    @model_validator(mode="after")
    def _check_together(self) -> "Rule":
        if self.transferable and self.mode is not Mode.SINGLE:
            raise ValueError("transferable needs the mode single: everything is brought to one location")
        if (self.outcome is RuleOutcome.HOLD) != (self.hold_reason is not None):
            raise ValueError(
                "hold_reason goes with the outcome hold, and the outcome hold with a hold_reason"
            )
        if (self.outcome is RuleOutcome.AUTO_CANCEL) != (self.cancel_after_days is not None):
            raise ValueError("cancel_after_days goes with the outcome auto_cancel, and auto_cancel with it")
        return self

    @property
    def may_leave_lines(self) -> bool:
        return self.mode is Mode.GREEDY if self.allow_partial is None else self.allow_partial


class ScenarioSpec(_Checked):
    """The chain of rules for the orders that match every condition; the lowest priority is tried first.

    What a file leaves out of a known scenario stays as it is.
    """

    name: Name
    priority: Whole = 0
    active: bool = True
    conditions: Annotated[dict[str, frozenset[Name]], AfterValidator(_conditions)] = {}
    rules: tuple[Rule, ...] = ()

    def matches(self, facts: dict[str, str]) -> bool:
        """Whether each condition names the order's fact; an absent condition matches any.

        Both are compared in their normal form, as the filters compare them.
        """
        return all(
            name in facts and normal_form(facts[name]) in map(normal_form, allowed)
            for name, allowed in self.conditions.items()
        )
