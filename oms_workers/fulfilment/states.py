"""Plans as subjects of the one door. A plan is created in the state that it keeps."""

from oms_workers.audit_events.door import Subject
from oms_workers.fulfilment.models import OrderExecutionPlan, PlanState

PLAN = Subject(
    name="plan",
    model=OrderExecutionPlan,
    initial=frozenset({PlanState.PENDING, PlanState.COMPLETED, PlanState.CANCELLED}),
    transitions={state: frozenset() for state in PlanState},
    version=None,
    changed_at=None,
)
