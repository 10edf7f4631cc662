"""`oms release`: let orders go that a rule holds."""

import sys
from typing import Annotated

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.operators import operator
from oms_workers.cli.program import begin
from oms_workers.operation.services import answering
from oms_workers.orders.held_orders import NotHeldError, release_all_held, release_order
from oms_workers.orders.naming import AmbiguousOrderError


def release(
    orders: Annotated[
        list[str] | None, typer.Argument(metavar="ORDER…", help="The orders' numbers, or Omnitron's keys.")
    ] = None,
    all_held: Annotated[
        bool, typer.Option("--all-held", help="Every order that is held now; needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(callback=text("--reason"), help="Kept in the audit log.")
    ] = None,
) -> None:
    """Let held orders be planned again, with the scenarios and the stock of that time.

    Example: oms release 100042 100043
    Example: oms release --all-held --reason "the price list is mended"
    """
    _check(orders or [], reason, all_held=all_held)
    begin()
    actor = operator()
    if all_held and reason is not None:
        with answering("PostgreSQL"):
            released = release_all_held(actor=actor, reason=reason.strip())
        print(f"{released} orders wait for fulfil-waiting-orders.")
        return
    refused = [order for order in dict.fromkeys(orders or ()) if not _release(order, actor, reason)]
    if refused:
        sys.exit(1)


def _release(order: str, actor: str, reason: str | None) -> bool:
    """Whether it was let go; one that was not stops no other."""
    try:
        with answering("PostgreSQL"):
            release_order(order, actor=actor, reason=reason)
    except (NotHeldError, AmbiguousOrderError) as error:
        print(error, file=sys.stderr)
        return False
    print(f"Order {order} waits for fulfil-waiting-orders.")
    return True


def _check(orders: list[str], reason: str | None, *, all_held: bool) -> None:
    if all_held and orders:
        raise typer.BadParameter(f"--all-held is for every held order, and {orders[0]!r} is named; give one.")
    if all_held and reason is None:
        raise typer.BadParameter("--all-held needs --reason, which the audit log of each order keeps.")
    for order in orders:
        text("ORDER")(order)
    if not all_held and not orders:
        raise typer.BadParameter("Name the orders, or give --all-held; `oms orders --state held` lists them.")
