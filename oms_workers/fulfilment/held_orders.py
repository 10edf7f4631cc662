"""Orders that a rule holds for a person, and letting them go."""

from datetime import datetime

from oms_workers.audit_events.record import Event, record
from oms_workers.database import connection, database_now, rows, transaction
from oms_workers.errors import OmsError


class NotHeldError(OmsError):
    """The order is not held, so there is nothing to let go."""


def release_order(number: str, *, actor: str) -> None:
    """Let what is held under this number be planned again, with the scenarios and the stock of then.

    Raises `NotHeldError` for an order that is not held, or not there.
    """
    with connection(), transaction():
        at: datetime = database_now()
        released = rows(
            """
            UPDATE orders
            SET state = 'waiting', next_plan_at = %(at)s, plan_version = plan_version + 1
            WHERE number = %(number)s AND state = 'held'
            RETURNING id
            """,
            {"number": number, "at": at},
        )
        if not released:
            raise NotHeldError(f"No order {number!r} is held; `oms explain {number}` says what it is.")
        record([Event("order", order.id, "released", {}) for order in released], actor=actor, at=at)
