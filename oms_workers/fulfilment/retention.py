"""How long the traces of plans are kept; the plans themselves are, since packages refer to them."""

from typing import Any

from peewee import SQL, NodeList

from oms_workers.fulfilment.models import OrderExecutionPlan, Scenario, ScenarioRule
from oms_workers.retention import Kept, Retention, chosen_rows, count_removed

#: The parts of a context that say what was considered and why it was chosen or not.
TRACE = ("scenario", "rules", "unplaced")


def _forget_traces(limit: Retention, chosen: Any) -> Any:
    """The statement that takes the traces out of the contexts of a batch."""
    plan = OrderExecutionPlan
    batch, same = chosen_rows(limit, chosen)
    keys = ", ".join(f"'{key}'" for key in TRACE)
    rest = NodeList((plan.context, SQL(f"- ARRAY[{keys}]")))
    update = plan.update({plan.context: rest}).where(same).returning(plan.created_at)
    forgotten = update.cte("forgotten", columns=["moment"])
    return count_removed(limit, forgotten, batch, forgotten)


def has_trace() -> Any:
    """The condition that a plan has a trace, as the index order_execution_plans_traced has it."""
    return NodeList((OrderExecutionPlan.context, SQL("? 'rules'")))


TRACES = Retention(
    model=OrderExecutionPlan,
    what="traces in the contexts of plans, which `oms explain` shows",
    becomes="taken out of the context",
    moment=OrderExecutionPlan.created_at,
    days="plan_traces_days",
    most="plan_traces_max_rows",
    task="oms.fulfilment.tasks.update_order_execution_plan_context",
    belongs=lambda: (has_trace(),),
    remove=_forget_traces,
)

RETENTIONS = (
    TRACES,
    Kept(Scenario, "The merchant's scenarios."),
    Kept(ScenarioRule, "The rules of the scenarios."),
)
