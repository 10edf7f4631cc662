"""How long packages wait for stock, where a rule says `auto_cancel`: from when they became out of stock.

A package that finds stock is told by its next attempt. What has no stock anywhere is never attempted, so
`limit_waits` asks the rules for it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import fn

from oms_workers.database import connection, transaction
from oms_workers.fulfilment.candidates import RETRY_ANYWAY
from oms_workers.fulfilment.models import Scenario
from oms_workers.fulfilment.planning.plans import end_of_wait
from oms_workers.fulfilment.planning.scenarios import RuleOutcome, ScenarioSpec
from oms_workers.fulfilment.scenarios import active_scenarios
from oms_workers.orders.models import IS_RELEASED, Order
from oms_workers.packages.models import UNPLANNED_STATES, Package
from oms_workers.scheduling.run import Run
from oms_workers.sets import among, fetch, for_change

#: Packages of one transaction.
BATCH = 500


class _Waiting(NamedTuple):
    id: int
    changed_at: datetime
    facts: dict[str, str]
    released: bool


class _Asked(NamedTuple):
    id: int
    cancel_after: datetime | None


def limit_waits(run: Run) -> int:
    """Say when the waits end of packages for which nothing is available, so that no attempt says it.

    Each is asked again after the scenarios have changed, and as often as it is tried anyway. Returns how many
    have an end now.
    """
    limited, last = 0, 0
    with connection():
        scenarios = active_scenarios()
        if not any(_may_cancel(scenario) for scenario in scenarios):
            return 0
        while not run.should_stop():
            with transaction():
                packages = _unasked_after(last, run.now)
                asked = [_Asked(each.id, _end_of(each, scenarios)) for each in packages]
                Package.update_set(asked, replanned_at=run.now)
            if not packages:
                break
            limited += sum(each.cancel_after is not None for each in asked)
            last = packages[-1].id
    return limited


def _may_cancel(scenario: ScenarioSpec) -> bool:
    return any(rule.outcome is RuleOutcome.AUTO_CANCEL for rule in scenario.rules)


def _unasked_after(last: int, now: datetime) -> list[_Waiting]:
    """Packages whose wait has no end, and for which no attempt was made with the scenarios of now, locked.

    An attempt that lost its stock to others has not said how long the package waits, so they are asked again.
    """
    changed = Scenario.select(fn.MAX(Scenario.changed_at))
    asked = Package.replanned_at
    unasked = asked.is_null() | (asked < changed) | (asked < now - RETRY_ANYWAY)
    # The index packages_unplanned holds only what waits.
    query = (
        Package.select(Package.id, Package.changed_at, Order.facts, IS_RELEASED.alias("released"))
        .join(Order)
        .where(
            among(Package.state, UNPLANNED_STATES),
            Package.cancel_after.is_null(),
            unasked,
            Package.id > last,
        )
        .order_by(Package.id)
        .limit(BATCH)
    )
    return fetch(for_change(query, of=Package, skip_locked=True), _Waiting)


def _end_of(package: _Waiting, scenarios: Sequence[ScenarioSpec]) -> datetime | None:
    days = _days_without_stock(scenarios, package.facts, released=package.released)
    return end_of_wait(None, package.changed_at, days)


def _days_without_stock(scenarios: Sequence[ScenarioSpec], facts: Any, *, released: bool) -> int | None:
    """What the rules say of an order of which they can place nothing."""
    scenario = next((each for each in scenarios if each.matches(facts)), None)
    for rule in scenario.rules if scenario else ():
        if rule.outcome is RuleOutcome.AUTO_CANCEL:
            return rule.cancel_after_days
        if rule.outcome is RuleOutcome.HOLD and not released:
            return None
    return None
