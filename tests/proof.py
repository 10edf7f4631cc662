"""Proof that every change of state has its event.

Triggers of the test database note both, with their transaction. What a test itself writes is left out: its
statements are written by hand, and the product's are Peewee's, which quotes every name.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from psycopg.types.json import Jsonb

from oms_workers.audit_events.door import Subject, name_of
from oms_workers.database import execute, rows
from oms_workers.fulfilment.states import PLAN
from oms_workers.orders.states import ORDER
from oms_workers.packages.states import PACKAGE, TRANSFER

SUBJECTS: Mapping[str, Subject] = {
    subject.model._meta.table_name: subject for subject in (ORDER, PLAN, PACKAGE, TRANSFER)
}

#: Parts of a package have its state, and its events are theirs.
PARTS = {"package_items": (PACKAGE, "package_id")}

INSTALL = """
    CREATE SCHEMA proof;
    CREATE TABLE proof.state_writes (transaction xid8, subject text, id bigint, state text, statement text);
    CREATE TABLE proof.events (transaction xid8, subject text, id bigint, state text);

    CREATE FUNCTION proof.note_state() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_query() ~ '^(UPDATE|INSERT INTO) "' THEN
            INSERT INTO proof.state_writes
            SELECT pg_current_xact_id(), TG_ARGV[0], (to_jsonb(NEW) ->> TG_ARGV[1])::bigint, NEW.state,
                   current_query();
        END IF;
        RETURN NULL;
    END $$;

    CREATE FUNCTION proof.note_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO proof.events
        SELECT pg_current_xact_id(), NEW.object_type, NEW.object_id,
               coalesce(NEW.content ->> 'after', NEW.content ->> 'state');
        RETURN NULL;
    END $$;

    CREATE TRIGGER proof AFTER INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION proof.note_event();
"""

NOTE_STATES = """
    CREATE TRIGGER proof_insert AFTER INSERT ON {table}
        FOR EACH ROW EXECUTE FUNCTION proof.note_state('{subject}', '{key}');
    CREATE TRIGGER proof_update AFTER UPDATE ON {table}
        FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
        EXECUTE FUNCTION proof.note_state('{subject}', '{key}');
"""

WITHOUT_EVENT = """
    SELECT subject, id, state, statement
    FROM proof.state_writes AS write
    WHERE NOT EXISTS (
        SELECT FROM proof.events AS event
        WHERE event.transaction = write.transaction AND event.subject = write.subject
          AND event.id = write.id AND event.state = (%(names)s::jsonb -> write.subject ->> write.state)
    )
"""


def install() -> None:
    """Add the triggers to the database of the open connection."""
    execute(INSTALL)
    for table, subject in SUBJECTS.items():
        execute(NOTE_STATES.format(table=table, subject=subject.name, key="id"))
    for table, (subject, key) in PARTS.items():
        execute(NOTE_STATES.format(table=table, subject=subject.name, key=key))


def states_without_event() -> list[Any]:
    """The states that were written since the last `forget` whose transaction has no event that says so."""
    names = {subject.name: _names(subject) for subject in SUBJECTS.values()}
    return rows(WITHOUT_EVENT, {"names": Jsonb(names)})


def _names(subject: Subject) -> dict[str, str]:
    members: list[Enum] = [*subject.transitions]
    return {str(member.value): name_of(member) for member in members}


def forget() -> None:
    execute("TRUNCATE proof.state_writes, proof.events")
