"""Orders as subjects of the one door: which of their states may follow which.

waiting ─▶ planned ─▶ settled
  │  ▲
  ▼  │
  held
"""

from oms_workers.audit_events.door import Subject
from oms_workers.orders.models import Order, OrderState

S = OrderState

ORDER = Subject(
    name="order",
    model=Order,
    initial=frozenset({S.WAITING}),
    transitions={
        S.WAITING: frozenset({S.PLANNED, S.HELD, S.SETTLED}),
        S.PLANNED: frozenset({S.SETTLED}),
        S.HELD: frozenset({S.WAITING}),
        S.SETTLED: frozenset(),
    },
    version="plan_version",
    changed_at=None,
)
