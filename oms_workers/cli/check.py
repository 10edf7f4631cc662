"""`oms check`: whether this deploy can work; for the release phase."""

import sys

import settings
from oms_workers import migrations
from oms_workers.cli.program import begin
from oms_workers.database import connection
from oms_workers.errors import OmsError
from oms_workers.operation.readiness import hub_warnings, merchant_warnings
from oms_workers.operation.services import answering
from oms_workers.servers import find_postgres_unfitness, find_redis_unfitness


def check() -> None:
    """Validate every setting and schedule, and that PostgreSQL, Redis and the schema answer.

    It tries what the processes will do: a lock of a session, a prepared statement, a write to Redis.
    Warns of what lets no order be planned: tables without a default location, scenario or stock, and
    credentials that Omnitron refuses.

    Example: oms check
    """
    configuration = begin(need_omnitron=True)
    problems = [*_problems()]
    warnings = [*settings.warnings(), *hub_warnings(configuration), *([] if problems else _ask_merchant())]
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print("The settings are valid; PostgreSQL, Redis and the schema answer.")


def _problems() -> list[str]:
    found = []
    for ask in (_ask_database, _ask_redis):
        try:
            found += ask()
        except OmsError as error:
            found.append(str(error))
    return found


def _ask_database() -> list[str]:
    with answering("PostgreSQL"):
        unfit = find_postgres_unfitness()
        if unfit:
            return unfit
        with connection():
            pending = migrations.pending()
    return [f"The schema lacks {', '.join(pending)}; run `oms migrate`."] if pending else []


def _ask_merchant() -> list[str]:
    with answering("PostgreSQL"), connection():
        return [*merchant_warnings()]


def _ask_redis() -> list[str]:
    with answering("Redis"):
        return find_redis_unfitness()
