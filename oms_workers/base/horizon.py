"""Who keeps dead rows from being removed: the oldest that may still see them."""

from datetime import datetime
from typing import Any, NamedTuple

import psycopg


class Holder(NamedTuple):
    """A session, a replication slot or a prepared transaction.

    `age` is for how many seconds it has been there, or None where that is not known.
    """

    kind: str
    name: str
    age: float | None

    def __str__(self) -> str:
        since = "" if self.age is None else f", for {self.age:.0f} s"
        return f"{self.kind} {self.name}{since}"


def oldest_holder(session: psycopg.Connection[Any], *, before: datetime) -> Holder | None:
    """Whose snapshot or transaction, begun `before` this, is the oldest of this database.

    None where there is none, or none that is shown to this user. What began later holds only rows that have
    died since. A worker of autovacuum holds none, and a slot's `catalog_xmin` holds those of the catalogue.
    """
    # SQL: the server's statistics have no models, and this connection is outside the pool.
    found = session.execute(
        """
        SELECT kind, name, extract(epoch FROM clock_timestamp() - since)::float8
        FROM (
            SELECT 'the session with pid' AS kind,
                   concat_ws(' ', pid, nullif(application_name, ''), 'of', usename, state) AS name,
                   xact_start AS since,
                   greatest(age(backend_xmin), age(backend_xid)) AS age
            FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
              AND (datname = current_database() OR datname IS NULL)
            UNION ALL
            SELECT 'the replication slot', slot_name, NULL, age(xmin)
            FROM pg_replication_slots
            UNION ALL
            SELECT 'the prepared transaction', gid, prepared, age(transaction)
            FROM pg_prepared_xacts
            WHERE database = current_database()
        ) AS holder
        WHERE age IS NOT NULL AND (since IS NULL OR since < %s)
        ORDER BY age DESC
        LIMIT 1
        """,
        (before,),
    ).fetchone()
    return None if found is None else Holder(*found)
