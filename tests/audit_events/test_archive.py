"""The archive: what moves, what stays, and that every event is in one place whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import settings
from oms_workers.audit_events import tasks
from oms_workers.audit_events.archive import EVENTS, archive
from oms_workers.database import connection, connection_parameters, database, execute, rows
from oms_workers.retention import remove_batch
from oms_workers.scheduling.run import Run

PROJECT = Path(settings.__file__).parent
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AGE = timedelta(days=120)
BOUNDARY = NOW - AGE
SECOND = timedelta(seconds=1)

#: Backends of this database that wait for a lock.
WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

#: Archives in small batches; says so on its standard output after each.
ARCHIVE_SLOWLY = """
import sys
from datetime import datetime, timedelta
import settings
from oms_workers.audit_events.archive import archive
from oms_workers.database import connection
settings.load(need_servers=True)
def said() -> bool:
    print("batch", flush=True)
    sys.stdin.readline()
    return False
with connection():
    now = datetime.fromisoformat(sys.argv[1])
    print("moved", archive(now, older_than=timedelta(days=120), should_stop=said, batch=10), flush=True)
"""


def never() -> bool:
    return False


def store_events(count: int, *, first: datetime, step: timedelta = SECOND) -> None:
    """Events of orders that are not there, one a step."""
    execute(
        """
        INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
        SELECT %s + n * %s, 'tests', 'order', n, 'planned', jsonb_build_object('n', n)
        FROM generate_series(0, %s - 1) AS n
        """,
        (first, step, count),
    )


def everywhere() -> list[tuple[Any, ...]]:
    """Every event that is in one of the tables, and one that is in both twice."""
    return [
        tuple(row)
        for row in rows(
            """
            SELECT id, uuid, at, actor, object_type, object_id, action, content::text FROM audit_events
            UNION ALL
            SELECT id, uuid, at, actor, object_type, object_id, action, content::text
            FROM archived_audit_events
            ORDER BY 1
            """
        )
    ]


def archived() -> int:
    found: int = rows("SELECT count(*) FROM archived_audit_events")[0][0]
    return found


def test_the_boundary_is_right_to_the_microsecond(db: None) -> None:
    microsecond = timedelta(microseconds=1)
    for number, at in enumerate((BOUNDARY - microsecond, BOUNDARY, BOUNDARY + microsecond)):
        execute(
            """
            INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
            VALUES (%s, 'tests', 'order', %s, 'planned', '{}')
            """,
            (at, number),
        )

    assert archive(NOW, older_than=AGE, should_stop=never) == 1

    assert rows("SELECT object_id FROM archived_audit_events") == [(0,)]
    assert rows("SELECT object_id FROM audit_events ORDER BY 1") == [(1,), (2,)]


def test_events_keep_all_that_they_say_and_learn_when_they_were_archived(db: None) -> None:
    store_events(25, first=BOUNDARY - timedelta(days=3))
    before = everywhere()

    assert archive(NOW, older_than=AGE, should_stop=never, batch=10) == 25

    assert everywhere() == before
    assert rows("SELECT count(*) FROM archived_audit_events WHERE archived_at > now() - interval '1 h'") == [
        (25,)
    ]
    assert archive(NOW, older_than=AGE, should_stop=never, batch=10) == 0


def test_many_events_of_one_instant_are_all_moved(db: None) -> None:
    store_events(47, first=BOUNDARY - SECOND, step=timedelta(0))

    assert archive(NOW, older_than=AGE, should_stop=never, batch=10) == 47


def test_it_stops_between_two_batches_and_the_next_run_goes_on(db: None) -> None:
    store_events(35, first=BOUNDARY - timedelta(days=3))

    assert archive(NOW, older_than=AGE, should_stop=lambda: True, batch=10) == 10
    assert archived() == 10
    assert archive(NOW, older_than=AGE, should_stop=never, batch=10) == 25


def test_each_batch_begins_where_the_last_one_ended(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    store_events(25, first=BOUNDARY - timedelta(days=3))

    first = remove_batch(EVENTS, BOUNDARY, None, 10)

    assert first[:2] == (10, BOUNDARY - timedelta(days=3) + 9 * SECOND)
    execute("UPDATE audit_events SET at = %s WHERE object_id = 10", (BOUNDARY - timedelta(days=9),))
    # What has appeared behind the floor is passed over until the next run.
    assert remove_batch(EVENTS, BOUNDARY, first.until, 100).rows == 14


def test_with_nothing_to_do_it_is_one_statement(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    store_events(20, first=NOW)
    said: list[str] = []
    real = type(database).execute_sql
    monkeypatch.setattr(
        type(database),
        "execute_sql",
        lambda self, sql, *rest, **options: said.append(sql) or real(self, sql, *rest, **options),
    )

    assert archive(NOW, older_than=AGE, should_stop=never) == 0

    assert len(said) == 1


def test_more_events_than_there_may_be_go_to_the_archive_too(db: None, configure) -> None:
    configure(AUDIT_EVENTS_MAX_ROWS="1000")
    store_events(1_030, first=NOW - timedelta(days=1))
    execute("ANALYZE audit_events")

    assert archive(NOW, older_than=AGE, should_stop=never, batch=100) == 30

    assert rows("SELECT min(object_id), count(*) FROM audit_events") == [(30, 1_000)]


@pytest.fixture
def slow_archive() -> Iterator[Any]:
    """Start processes that archive ten events at a time and wait after each batch."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", ARCHIVE_SLOWLY, NOW.isoformat()],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_killed_between_batches_it_leaves_every_event_in_one_place(db: None, slow_archive: Any) -> None:
    store_events(40, first=BOUNDARY - timedelta(days=3))
    before = everywhere()
    process = slow_archive()
    assert process.stdout.readline() == "batch\n"
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "batch\n"

    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert archived() == 20
    assert everywhere() == before
    assert archive(NOW, older_than=AGE, should_stop=never, batch=10) == 20
    assert everywhere() == before


def test_killed_inside_a_batch_it_leaves_every_event_in_one_place(db: None, slow_archive: Any) -> None:
    store_events(40, first=BOUNDARY - timedelta(days=3))
    before = everywhere()
    with psycopg.connect(**connection_parameters(settings.current())) as other:
        # Another session is about to insert the batch's fifth event: the statement is held in its middle.
        other.execute(
            """
            INSERT INTO archived_audit_events
            SELECT *, now() FROM audit_events ORDER BY at OFFSET 4 LIMIT 1
            """
        )
        process = slow_archive()
        until(waiting_backends)

        process.send_signal(signal.SIGKILL)
        process.wait(10)
        # PostgreSQL looks every 2 s whether the client is still there.
        until(lambda: not waiting_backends())
        other.rollback()

    assert everywhere() == before
    assert archive(NOW, older_than=AGE, should_stop=never, batch=10) == 40
    assert everywhere() == before


def waiting_backends() -> list[Any]:
    return rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH%%'")


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_at_once_share_the_events(db: None, slow_archive: Any) -> None:
    store_events(200, first=BOUNDARY - timedelta(days=3))
    before = everywhere()
    with psycopg.connect(**connection_parameters(settings.current())) as other:
        # What both are to move first is not free, so that both wait with it in their hands.
        other.execute(
            """
            INSERT INTO archived_audit_events
            SELECT *, now() FROM audit_events ORDER BY at OFFSET 4 LIMIT 1
            """
        )
        both = [slow_archive(), slow_archive()]
        until(lambda: len(rows(WAITING)) == 2)
        other.rollback()
    for process in both:
        process.stdin.write("\n" * 50)
        process.stdin.flush()

    said = [process.communicate(timeout=30)[0].splitlines()[-1] for process in both]

    moved = [int(line.removeprefix("moved ")) for line in said]
    assert sum(moved) == 200
    assert everywhere() == before
    assert rows("SELECT count(*) FROM audit_events") == [(0,)]


def test_the_history_of_an_object_that_is_gone_is_kept(db: None) -> None:
    store_events(1, first=BOUNDARY - SECOND)
    assert rows("SELECT FROM orders") == []

    assert archive(NOW, older_than=AGE, should_stop=never) == 1


def test_the_task_takes_the_days_of_its_row_and_the_variable_changes_them(db: None, configure) -> None:
    with connection():
        now = rows("SELECT clock_timestamp()")[0][0]
    store_events(3, first=now - timedelta(days=40))
    run = Run(now, budget=timedelta(minutes=1))

    operation = tasks.archive_old_audit_events
    assert operation.function(run, older_than=120) == {"archived": 0}
    assert operation.variables == {"older_than": "audit_events_older_than_days"}
    assert operation.function(run, older_than=30) == {"archived": 3}
