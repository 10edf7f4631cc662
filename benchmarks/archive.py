"""How fast does `archive-old-audit-events` move old events, compared with one bare SQL statement?

    python -m benchmarks.archive [--old 200000] [--young 200000] [--rounds 3]
    python -m benchmarks.archive --django /path/to/venv/bin/python [--old 100000] [--young 100000]

In each round the same events are moved by one statement, and then by the task. The table and its indexes are
made anew before each. With `--django` the same events are archived by django-audit-events on the same
PostgreSQL: the interpreter is that of a virtual environment with django, celery, psycopg and
django-audit-events, which none of ours needs.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from psycopg.conninfo import conninfo_to_dict

from benchmarks import world
from oms_workers.audit_events.archive import archive
from oms_workers.database import connection, database, database_now, execute, rows

AGE = timedelta(days=120)

STORE = """
    INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
    SELECT %(from)s::timestamptz + n * interval '1 s', 'oms.fulfilment.tasks.fulfil_waiting_orders',
           (ARRAY['order', 'plan', 'package', 'transfer'])[1 + n %% 4], n / 10, 'planned',
           jsonb_build_object('before', 'waiting', 'after', 'planned', 'plan', n, 'number', 'P' || n)
    FROM generate_series(1, %(count)s) AS n
"""

BARE = """
    WITH moved AS (
        DELETE FROM audit_events WHERE at < %(before)s
        RETURNING id, uuid, at, actor, object_type, object_id, action, content
    )
    INSERT INTO archived_audit_events
    SELECT id, uuid, at, actor, object_type, object_id, action, content, statement_timestamp() FROM moved
"""

DJANGO = """
import json, os, resource, sys, time
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_audit_events"],
    DATABASES={"default": json.loads(os.environ["AUDIT_DATABASE"])},
    USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from datetime import timedelta
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, reset_queries
from django.utils import timezone
call_command("migrate", verbosity=0)
from django_audit_events import models, tasks
old, young = int(sys.argv[1]), int(sys.argv[2])
user = User.objects.create(username="ada")
kind = ContentType.objects.get_for_model(User)
now = timezone.now()
model = models.AuditEvent
for count, days in ((old, 200), (young, 1)):
    for start in range(0, count, 5000):
        made = [
            model(content_type=kind, object_id=user.pk, user=user,
                  content={"event": "planned", "before": "waiting", "after": "planned", "plan": start + n})
            for n in range(min(5000, count - start))
        ]
        model.objects.bulk_create(made)
        ids = [event.pk for event in made]
        model.objects.filter(pk__in=ids).update(timestamp=now - timedelta(days=days))
connection.cursor().execute("VACUUM ANALYZE django_audit_events_auditevent")
statements = 0
def counting(execute, sql, params, many, context):
    global statements
    statements += 1
    return execute(sql, params, many, context)
for name in ("to do", "nothing to do"):
    statements, started = 0, time.perf_counter()
    with connection.execute_wrapper(counting):
        tasks.archive_old_audit_events.run(120)
    print(json.dumps({"what": name, "seconds": time.perf_counter() - started, "statements": statements,
                      "left": model.objects.count(),
                      "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the archiving of audit events.")
    parser.add_argument("--old", type=int, default=200_000)
    parser.add_argument("--young", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--django", help="a Python that has django-audit-events")
    arguments = parser.parse_args()
    print(world.describe_machine())
    with world.postgres() as url, connection():
        old, young = arguments.old, arguments.young
        ratios, fastest = [], float("inf")
        for _ in range(arguments.rounds):
            bare = seconds_for(move_bare, old, young)
            before = peak()
            ours = seconds_for(move_by_task, old, young)
            ratios.append(bare / ours)
            fastest = min(fastest, ours)
            print(
                f"{old:,} of {old + young:,} events: one statement {old / bare:,.0f} rows/s, the task"
                f" {old / ours:,.0f} rows/s, ratio {bare / ours:.2f}; process at most {peak():.0f} MB"
                f" ({before:.0f} before)"
            )
        print(f"median ratio {statistics.median(ratios):.2f}")
        show_idle()
        if arguments.django:
            compare(arguments.django, url, old, young, fastest)


def seconds_for(move: Callable[[datetime], int], old: int, young: int) -> float:
    """The time of moving the old events, with fresh tables."""
    execute("TRUNCATE audit_events, archived_audit_events")
    now = database_now()
    execute(STORE, {"from": now - AGE - timedelta(seconds=old + 60), "count": old})
    execute(STORE, {"from": now - timedelta(seconds=young), "count": young})
    execute("VACUUM (ANALYZE) audit_events")
    execute("CHECKPOINT")
    started = time.perf_counter()
    moved = move(now)
    taken = time.perf_counter() - started
    assert moved == old, moved
    assert [tuple(row) for row in counts()] == [(young, old)]
    return taken


def counts() -> list[tuple[int, int]]:
    return rows("SELECT (SELECT count(*) FROM audit_events), (SELECT count(*) FROM archived_audit_events)")


def move_bare(now: datetime) -> int:
    return execute(BARE, {"before": now - AGE})


def move_by_task(now: datetime) -> int:
    return archive(now, older_than=AGE, should_stop=lambda: False)


def show_idle() -> None:
    """How many statements and how long it takes to find that there is nothing to move."""
    execute("VACUUM audit_events")
    said: list[str] = []
    real = type(database).execute_sql
    type(database).execute_sql = lambda self, sql, *rest, **options: (
        said.append(sql) or real(self, sql, *rest, **options)
    )
    try:
        started = time.perf_counter()
        archive(database_now(), older_than=AGE, should_stop=lambda: False)
        taken = time.perf_counter() - started
    finally:
        type(database).execute_sql = real
    print(f"nothing to do: {len(said) - 1} statement, {1000 * taken:.1f} ms")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(python: str, url: str, old: int, young: int, ours: float) -> None:
    """Let django-audit-events archive as many events, in a database of its own on the same server."""
    execute("CREATE DATABASE django")
    parts = conninfo_to_dict(url)
    address = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "django",
        "USER": parts["user"],
        "HOST": parts["host"],
    }
    ended = subprocess.run(
        [python, "-c", DJANGO, str(old), str(young)],
        env={**os.environ, "AUDIT_DATABASE": json.dumps(address)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in ended.stdout.splitlines():
        found = json.loads(line)
        print(
            f"django-audit-events, {found['what']}: {found['seconds']:.1f} s, {found['statements']:,}"
            f" statements, {found['MiB']:.0f} MiB, {found['left']:,} events left"
        )
        if found["what"] == "to do":
            print(f"it takes {found['seconds'] / ours:.0f} times as long")


if __name__ == "__main__":
    main()
