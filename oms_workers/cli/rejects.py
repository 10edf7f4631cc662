"""`oms rejects`: the orders that could not come in, to be tried again or dismissed."""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

import settings
from oms_workers.cli.arguments import text
from oms_workers.cli.listing import SHOWN, AsJson, Limit, Since, print_listing, since_when
from oms_workers.cli.operators import operator
from oms_workers.cli.output import age, print_json
from oms_workers.cli.program import begin
from oms_workers.database import connection, database_now, transaction
from oms_workers.operation.listings import list_rejects
from oms_workers.operation.services import answering
from oms_workers.orders.asking import GONE, retry
from oms_workers.orders.client import Omnitron
from oms_workers.orders.intake import IntakeOutcome
from oms_workers.orders.rejections import KEYLESS, dismiss, find_reject, reasons_of, try_at_next_pull
from oms_workers.scheduling.run import Run

#: How long a person waits for Omnitron.
RETRY_BUDGET = timedelta(minutes=1)

#: Outcomes that say no more than that it stays.
_UNSETTLED = (IntakeOutcome.REJECTED, IntakeOutcome.FAILED, IntakeOutcome.OLDER)

#: What is said of an order that came in.
_CAME_IN = {"stored": "is stored", "updated": "is stored", "unchanged": "is stored"}


def rejects(
    retried: Annotated[
        list[str] | None,
        typer.Option("--retry", metavar="ORDER", help="Try this order now; may be repeated."),
    ] = None,
    dismissed: Annotated[
        list[str] | None,
        typer.Option("--dismiss", metavar="ORDER", help="Try this order no more; may be repeated."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(callback=text("--reason"), help="Why it is dismissed; kept with it.")
    ] = None,
    are_dismissed: Annotated[
        bool, typer.Option("--dismissed", help="List those that were dismissed.")
    ] = False,
    since: Since = None,
    limit: Limit = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List the orders of Omnitron that could not be stored, the oldest first, each with its reason.

    Each is tried again by itself, after a minute and at last each hour. ORDER is its key or its number. What
    was dismissed is tried again only when Omnitron has modified it.

    Example: oms rejects
    Example: oms rejects --retry 100042
    Example: oms rejects --dismiss 100043 --reason "a test order of the agency"
    """
    _check(retried or [], dismissed or [], reason, are_dismissed=are_dismissed, since=since)
    configuration = begin(need_omnitron=bool(retried))
    after = since_when(since)
    with answering("PostgreSQL"), connection():
        now = database_now()
        if retried:
            keys = _keys(retried)
        elif dismissed and reason is not None:
            _dismiss(_keys(dismissed), reason.strip(), now, as_json=as_json)
            return
        else:
            found = list_rejects(are_dismissed=are_dismissed, since=after, limit=limit, now=now)
    if retried:
        _retry(configuration, keys, now, as_json=as_json)
    else:
        _print(found, now, as_json=as_json)


def _check(
    retried: Sequence[str],
    dismissed: Sequence[str],
    reason: str | None,
    *,
    are_dismissed: bool,
    since: str | None,
) -> None:
    for order in (*retried, *dismissed):
        text("ORDER")(order)
    if retried and dismissed:
        raise typer.BadParameter("--retry and --dismiss are two things; give one of them.")
    if dismissed and reason is None:
        raise typer.BadParameter("--dismiss needs --reason, which is kept with the order.")
    if reason is not None and not dismissed:
        raise typer.BadParameter("--reason is for --dismiss, and no order is dismissed.")
    if (retried or dismissed) and (are_dismissed or since is not None):
        raise typer.BadParameter("--dismissed and --since are for the list; give them alone.")


def _keys(names: Sequence[str]) -> list[str]:
    return [*dict.fromkeys(find_reject(name) for name in names)]


def _dismiss(keys: Sequence[str], reason: str, now: datetime, *, as_json: bool) -> None:
    with transaction():
        dismiss(keys, by=operator(), reason=reason, now=now)
    _say(dict.fromkeys(keys, "dismissed"), as_json=as_json)


def _retry(configuration: settings.Settings, keys: Sequence[str], now: datetime, *, as_json: bool) -> None:
    """Ask Omnitron for each; of what has no key, it can only be asked by the pull."""
    keyless = [key for key in keys if key.startswith(KEYLESS)]
    run = Run(now, budget=RETRY_BUDGET)
    with answering("PostgreSQL"), Omnitron(configuration, run.wait) as client:
        with connection():
            try_at_next_pull(keys, now=now)
        outcomes = retry(client, run, [key for key in keys if key not in keyless])
        with connection():
            reasons = reasons_of(keys)
    # The pull may have taken one in the meantime, so that it has no reason any more.
    became = {
        key: reasons.get(key, "see the log") if outcome in _UNSETTLED else outcome
        for key, outcome in outcomes.items()
    }
    became |= dict.fromkeys(keyless, "it has no key to ask for; the next pull tries it")
    _say(became, as_json=as_json)
    if not {*outcomes.values()} <= {*_CAME_IN, GONE}:
        sys.exit(1)


def _say(became: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"rejects": [{"omnitron_id": key, "became": what} for key, what in became.items()]})
        return
    said = {**_CAME_IN, GONE: "is cancelled in Omnitron, or not there any more", "dismissed": "is dismissed"}
    for key, what in became.items():
        print(f"Order {key} {said[what]}." if what in said else f"Order {key} stays rejected: {what}")


def _print(found: dict[str, Any], now: datetime, *, as_json: bool) -> None:
    def line(reject: dict[str, Any]) -> tuple[object, ...]:
        again = age(reject["next_attempt_at"], now) if reject["next_attempt_at"] else "at the next pull"
        why = reject["reason"]
        if reject["dismissed_at"]:
            again = "never"
            why = f"{reject['dismissed_reason']}, says {reject['dismissed_by']}; {why}"
        return (
            reject["omnitron_id"],
            reject["number"],
            age(reject["since"], now),
            reject["attempts"],
            again,
            why,
        )

    columns = ("in Omnitron", "order", "since", "tries", "next", "reason")
    print_listing(found, "rejects", columns, line, as_json=as_json)
