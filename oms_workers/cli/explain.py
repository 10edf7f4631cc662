"""`oms explain`: why an order went where it went."""

from typing import Annotated, Any

import typer

from oms_workers.cli.arguments import text
from oms_workers.cli.output import console, print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.errors import OmsError
from oms_workers.fulfilment.dry_run import plan_without_committing
from oms_workers.operation.explanation import explain_orders
from oms_workers.operation.services import answering

#: What an attempt's state means.
_OUTCOMES = {
    "start": "begun",
    "pending": "the order is held",
    "completed": "packages were made",
    "cancelled": "nothing could be placed",
}


def explain(
    order: Annotated[
        str, typer.Argument(help="The order's number, or Omnitron's key of it.", callback=text("ORDER"))
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan it now, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show each attempt to plan an order: the locations considered, their stock then, and each one's verdict.

    Example: oms explain 100042
    Example: oms explain 100042 --dry-run
    """
    begin()
    with answering("PostgreSQL"), connection():
        found = plan_without_committing(order) if dry_run else explain_orders(order)
    if not found:
        raise OmsError(f"No order {order!r} was pulled, nor rejected; see the last pull in `oms status`.")
    if as_json:
        print_json(found)
        return
    for one in found if dry_run else ():
        _print_dry_run(one)
    for one in () if dry_run else found:
        _print_rejected(one) if one["state"] == "rejected" else _print(one)


def _print_rejected(order: dict[str, Any]) -> None:
    console().print(f"order {order['omnitron_id']} was rejected: {order['reason']}", markup=False)


def _print_dry_run(plan: dict[str, Any]) -> None:
    console().print(f"{plan['of']}, planned now, nothing written", markup=False)
    _print_context(plan["context"])
    for package in plan["packages"]:
        console().print(f"would be sent by {package['location']}: {_items(package['items'])}", markup=False)
        for transfer in package["transfers"]:
            items = _items(transfer["items"])
            console().print(f"  with a transfer from {transfer['source']}: {items}", markup=False)


def _print(order: dict[str, Any]) -> None:
    key = order["omnitron_id"]
    console().print(f"order {order['number']} ({key} in Omnitron) is {order['state']}", markup=False)
    print_table(
        ("line", "sku", "quantity", "status"),
        [(line["id"], line["sku"], line["quantity"], line["status"]) for line in order["lines"]],
    )
    if order["line_changes"]:
        console().print("its lines changed in Omnitron after it was planned, to:", markup=False)
        lines = order["line_changes"]
        print_table(
            ("sku", "quantity", "status"), [(line["sku"], line["quantity"], line["status"]) for line in lines]
        )
    _print_event(f"order {order['number']}", order["last_event"])
    if order["state"] == "waiting":
        console().print(f"it is planned at the earliest at {order['next_plan_at']}", markup=False)
    for plan in order["plans"]:
        _print_plan(plan)
    if order["attempts_not_kept"]:
        console().print(
            f"\n{order['attempts_not_kept']} older attempts that placed nothing are not kept", markup=False
        )
    _print_packages(order["packages"])
    if order["transfers"]:
        _print_transfers(order["transfers"])


def _print_packages(packages: list[dict[str, Any]]) -> None:
    print_table(
        ("package", "version", "location", "state", "attempts to replan", "items"),
        [
            (
                package["number"],
                package["version"],
                package["location"],
                package["state"],
                package["replan_attempts"] or "",
                _items(package["items"]),
            )
            for package in packages
        ],
        title="\nPackages",
    )
    for package in packages:
        _print_event(package["number"], package["last_event"])


def _print_transfers(transfers: list[dict[str, Any]]) -> None:
    print_table(
        ("transfer", "of", "from", "to", "state"),
        [
            (line["number"], line["package"], line["source"], line["destination"], line["state"])
            for line in transfers
        ],
        title="\nTransfers",
    )
    for line in transfers:
        _print_event(line["number"], line["last_event"])


def _print_event(of: str, event: dict[str, Any] | None) -> None:
    """What happened last to something, by whom and why."""
    if event is None:
        return
    why = ", ".join(f"{name} {_said(value)}" for name, value in event["content"].items() if value)
    happened = f"{of}: {event['action']} by {event['actor']} at {event['at']}"
    console().print(f"{happened}: {why}" if why else happened, markup=False)


def _said(value: Any) -> str:
    return _stock(value) if isinstance(value, dict) else str(value)


def _print_plan(plan: dict[str, Any]) -> None:
    of = f" of package {plan['package']}" if plan["package"] else ""
    outcome = _OUTCOMES[plan["state"]]
    if "transfer" in plan["context"]:
        of, outcome = f" of transfer {plan['context']['transfer']}", "another source was found"
    console().print(f"\nattempt {plan['attempt']}{of} at {plan['created_at']}: {outcome}", markup=False)
    if "rules" in plan["context"]:
        _print_context(plan["context"])
    else:
        console().print("Its trace is not kept any more; see PLAN_TRACES_DAYS.", markup=False)


def _print_context(context: dict[str, Any]) -> None:
    scenario = context["scenario"] or "none: no active scenario matches the order"
    console().print(f"scenario {scenario}", markup=False)
    for rule in context["rules"]:
        ranking = ", ".join(rule["ranking"]) or "the locations' ids"
        _print_locations(
            rule["locations"],
            rule.get("more_locations", {}),
            title=f"rule {rule['rule']} ({rule['mode']}, ranked by {ranking})",
        )
        if "sources" in rule:
            title = "from where what is missing might be brought"
            _print_locations(rule["sources"], rule.get("more_sources", {}), title=title)
        for transfer in rule.get("transfers", ()):
            console().print(f"brought from {transfer['from']}: {_stock(transfer['lines'])}", markup=False)
        if "dropped" in rule:
            console().print(f"dropped: {rule['dropped']}", markup=False)
        if "passed" in rule:
            console().print(f"not held: {rule['passed']}", markup=False)
    if "hold_reason" in context:
        console().print(f"to be held: {context['hold_reason']}", markup=False)
    for line in context["unplaced"]:
        console().print(f"unplaced: {line['quantity']} of {line['sku']}", markup=False)


def _print_locations(considered: list[dict[str, Any]], more: dict[str, int], *, title: str) -> None:
    """The locations that the trace has, then how many others there were of each verdict."""
    print_table(
        ("location", "available then", "compared by", "verdict"),
        [
            *(
                (line["location"], _available(line), _stock(line.get("rank")), line["verdict"])
                for line in considered
            ),
            *((f"{count} more", "", "", verdict) for verdict, count in more.items()),
        ],
        title=title,
    )


def _available(line: dict[str, Any]) -> str:
    more = f"  and {line['more_skus']} more skus" if "more_skus" in line else ""
    return _stock(line.get("stock")) + more


def _stock(stock: dict[str, int] | None) -> str:
    return "" if stock is None else "  ".join(f"{sku} {units}" for sku, units in stock.items())


def _items(items: list[dict[str, Any]]) -> str:
    return ", ".join(f"{item['quantity']} × {item['sku']}" for item in items)
