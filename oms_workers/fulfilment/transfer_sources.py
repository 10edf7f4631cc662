"""Which location sends what a transfer brings when its source cannot: who could, and who is asked first."""

from typing import Any, NamedTuple

from oms_workers.database import row, rows
from oms_workers.fulfilment.commands.registry import Transfer
from oms_workers.fulfilment.loading import active_scenarios
from oms_workers.fulfilment.planning.plans import Offer
from oms_workers.fulfilment.planning.ranking import rank
from oms_workers.fulfilment.planning.scenarios import Rule
from oms_workers.fulfilment.planning.trace import RANKED_BEHIND, SOURCE, entry
from oms_workers.fulfilment.snapshot import sieve_locations

#: The verdict on locations that pass the rule's filters and still cannot send it.
NO_SOURCE = "was tried before, has rejected it, or does not have all of it"

#: Where the rule that asked for the transfer is gone: any location, by its priority.
ANY = Rule(name="any location", ranking=("priority",))

#: The locations that could send a `transfer`: active, not its destination, never tried for its items, not one
#: that has rejected them, and with all of them. It starts from what is available, by the index
#: stock_available, since of most that waits nothing is.
SOURCES = """
    SELECT stock.location_id AS id
    FROM (
        SELECT sku, sum(quantity) AS units
        FROM transfer_items
        WHERE transfer_id = transfer.id
        GROUP BY sku
    ) AS needed
    JOIN stock ON stock.sku = needed.sku AND on_hand > reserved + safety
     AND on_hand - reserved - safety >= needed.units
    JOIN locations ON locations.id = stock.location_id AND locations.active
    WHERE stock.location_id <> transfer.destination_id
      AND NOT EXISTS (
          SELECT FROM transfer_items AS own
          JOIN transfer_items AS tried_item ON tried_item.package_item_id = own.package_item_id
          JOIN transfer_orders AS tried ON tried.id = tried_item.transfer_id
          WHERE own.transfer_id = transfer.id AND tried.source_id = stock.location_id
      )
      AND NOT EXISTS (
          SELECT FROM transfer_items AS own
          JOIN package_items ON package_items.id = own.package_item_id
          JOIN excluded_locations AS excluded USING (order_item_id)
          WHERE own.transfer_id = transfer.id AND excluded.location_id = stock.location_id
            AND excluded.until > now()
      )
    GROUP BY stock.location_id
    HAVING count(*) = (SELECT count(DISTINCT sku) FROM transfer_items WHERE transfer_id = transfer.id)
"""


class Choice(NamedTuple):
    """The location that is to send a transfer, and the context that says why it was chosen."""

    location_id: int
    context: dict[str, Any]


def choose_source(transfer: Transfer) -> Choice | None:
    """The best of the locations that could send it, by the ranking of the rule that asked for it."""
    stock = _stock_of_sources(transfer)
    scenario, rule, facts = _rule_of(transfer.package.plan_id)
    sieved = sieve_locations(rule.transfer_from, facts)
    offers = [
        Offer(location, stock[location.id], sum(stock[location.id].values()), location.open_packages)
        for location in sieved.passed
        if location.id in stock
    ]
    if not offers:
        return None
    first, *others = rank(offers, rule.ranking, facts)
    unable = [
        {"location": location.code, "verdict": NO_SOURCE}
        for location in sieved.passed
        if location.id not in stock
    ]
    trace = {
        "rule": rule.name,
        "mode": rule.mode.value,
        "ranking": rule.ranking,
        "locations": [
            entry(first, SOURCE),
            *(entry(offer, RANKED_BEHIND) for offer in others),
            *unable,
            *sieved.refused,
        ],
    }
    context = {"scenario": scenario, "rules": [trace], "unplaced": [], "transfer": transfer.number}
    return Choice(first.location.id, context)


def _stock_of_sources(transfer: Transfer) -> dict[int, dict[str, int]]:
    """By location that could send it, what is available there of what it brings."""
    found: dict[int, dict[str, int]] = {}
    for location_id, sku, units in rows(
        f"""
        SELECT DISTINCT source.id, stock.sku, on_hand - reserved - safety
        FROM transfer_orders AS transfer
        CROSS JOIN LATERAL ({SOURCES}) AS source
        JOIN transfer_items ON transfer_items.transfer_id = transfer.id
        JOIN stock ON stock.sku = transfer_items.sku AND stock.location_id = source.id
        WHERE transfer.id = %s
        """,
        (transfer.id,),
    ):
        found.setdefault(location_id, {})[sku] = units
    return found


def _rule_of(plan_id: int) -> tuple[str | None, Rule, dict[str, str]]:
    """The scenario and rule that asked for a plan's transfers, as they are now, and the order's facts."""
    plan: Any = row(
        """
        SELECT context, facts
        FROM order_execution_plans
        JOIN orders ON orders.id = order_id
        WHERE order_execution_plans.id = %s
        """,
        (plan_id,),
    )
    asked = {rule["rule"] for rule in plan.context["rules"] if "transfers" in rule and "dropped" not in rule}
    for scenario in active_scenarios():
        for rule in scenario.rules if scenario.name == plan.context["scenario"] else ():
            if rule.name in asked:
                return scenario.name, rule, plan.facts
    return None, ANY, plan.facts
