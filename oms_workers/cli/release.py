"""`oms release`: let an order go that a rule holds."""

import getpass
from typing import Annotated

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.program import begin
from oms_workers.operation.services import answering
from oms_workers.orders.held_orders import release_order


def release(
    order: Annotated[str, typer.Argument(help="The order's number.", callback=text("ORDER"))],
) -> None:
    """Let a held order be planned again, with the scenarios and the stock of that time.

    Example: oms release 100042
    """
    begin()
    with answering("PostgreSQL"):
        release_order(order, actor=f"operator {getpass.getuser()}")
    print(f"Order {order} waits for fulfil-waiting-orders.")
