"""`oms orders`: the orders that wait, with the reason."""

from typing import Annotated, Any

import typer

from oms_workers.cli.listing import SHOWN, AsJson, Limit, Since, print_listing, since_when
from oms_workers.cli.output import age
from oms_workers.cli.program import begin
from oms_workers.database import connection, database_now
from oms_workers.operation.listings import list_orders
from oms_workers.operation.services import answering
from oms_workers.orders.listing import OrderList


def orders(
    state: Annotated[
        OrderList,
        typer.Option(help="held or waiting; rejected by us; changed in Omnitron after they were planned."),
    ],
    since: Since = None,
    limit: Limit = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List the orders that wait, the oldest first, each with its age and the reason.

    The age is that of `oms status`: since the order was placed, or was rejected first.

    Example: oms orders --state held --since 2026-11-01
    """
    begin()
    after = since_when(since)
    with answering("PostgreSQL"), connection():
        now = database_now()
        found = list_orders(state, since=after, limit=limit, now=now)

    def line(order: dict[str, Any]) -> tuple[object, ...]:
        return order["number"], order["omnitron_id"], age(order["since"], now), order["reason"]

    print_listing(found, "orders", ("order", "in Omnitron", "since", "reason"), line, as_json=as_json)
