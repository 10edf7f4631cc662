"""Orders that a rule holds for a person, and letting them go."""

from datetime import datetime

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, row, transaction
from oms_workers.errors import OmsError


class NotHeldError(OmsError):
    """The order is not held, so there is nothing to let go."""


def release_order(number: str, *, actor: str) -> None:
    """Let a held order be planned again by task 2, with the scenarios and the stock of then.

    Raises `NotHeldError` for an order that is not held, or not there.
    """
    with connection(), transaction():
        at: datetime = database_now()
        released = row(
            """
            UPDATE orders
            SET state = 'waiting', next_plan_at = %(at)s, plan_version = plan_version + 1
            WHERE number = %(number)s AND state = 'held'
            RETURNING id
            """,
            {"number": number, "at": at},
        )
        if released is None:
            raise NotHeldError(f"No order {number!r} is held; `oms explain {number}` says what it is.")
        record([Event("order", released.id, "released", {})], actor=actor, at=at)
