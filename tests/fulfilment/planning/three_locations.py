"""Three locations, and the plan of one order by one scenario."""

from oms_workers.fulfilment.planning.planner import plan_orders
from oms_workers.fulfilment.planning.plans import Available, LocationToPlan, OrderToPlan, Plan
from oms_workers.fulfilment.planning.scenarios import ScenarioSpec
from tests.fulfilment.samples import a_location

GEBZE = a_location(1, "GEBZE", type="warehouse", priority=1)
IZMIR = a_location(2, "IZMIR", type="warehouse", priority=2)
KADIKOY = a_location(3, "KADIKOY", priority=3)
LOCATIONS = (GEBZE, IZMIR, KADIKOY)


def plan(
    order: OrderToPlan,
    scenario: ScenarioSpec,
    stock: Available,
    locations: tuple[LocationToPlan, ...] = LOCATIONS,
) -> Plan:
    (made,) = plan_orders([order], [scenario], locations, stock)
    return made
