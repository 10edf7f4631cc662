"""Many workers, doubled messages, deploys and kills at random moments, on the ledger's claim alone.

Each deploy changes the cadence of one task and the switch of the other. Old workers start again beside new
ones.

Run as a program of its own, which forks its workers after everything is imported: a fork costs a
millisecond, so that more than a hundred workers can die in half a minute. What they saw is in the table
`evidence`, next to the ledger.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

import psycopg

import settings
from oms_workers.configuration.cadence import Interval
from oms_workers.database import connection, connection_parameters, execute
from oms_workers.scheduling import known_cadences, ledger, liveness, orphans
from oms_workers.scheduling.configurations import TaskPlan

TASKS = ("oms.tests.tasks.first", "oms.tests.tasks.second")
PERIOD = timedelta(seconds=1)
WORKERS = 6

#: A deploy comes after so many kills, and so often a worker that starts is still one of the release before.
KILLS_BETWEEN_DEPLOYS = 25
OLD_WORKERS = 0.3

#: All workers are dead for so long before each second deploy: each cadence has slots in that time.
DOWNTIME_SECONDS = 2.2

#: An advisory lock that a run holds while it works; a second one of the task cannot have it.
WITNESS_CLASS = 77

#: Runs are shorter and longer than the period, so that slots are missed and overlapped too.
WORK_SECONDS = (0.0, 0.1, 0.3, 0.6, 2.5)

#: Dead is who has had no lock at two looks this far apart; the forks' locks go with their sockets, at once.
CONFIRMATION_SECONDS = 0.4

#: Deaths and second attempts, successes, and slots that were skipped: what the test is worth something by.
MUCH_HAPPENED = """
    SELECT count(*) FILTER (WHERE error = 'worker died' OR attempts > 1) >= 5,
           count(*) FILTER (WHERE state = 'succeeded') >= 10,
           count(*) FILTER (WHERE state = 'skipped') >= 5
    FROM scheduled_runs
"""


def plans_of(release: int) -> list[TaskPlan]:
    """Each second release runs the first task half as often, and the second one not at all."""
    seconds, odd = int(PERIOD.total_seconds()), release % 2
    first, second = TASKS
    six_hours = timedelta(hours=6)
    return [
        TaskPlan(first, Interval(seconds * (1 + odd)), enabled=True, catch_up=six_hours),
        TaskPlan(second, Interval(seconds), enabled=not odd, catch_up=six_hours),
    ]


def main(kills: int, seed: int) -> None:
    """Kill at least so many of the workers, and go on until much has happened; then let the rest work on for
    a while, and end them.

    How much happens in a second is the machine's to say, so that no number of kills is enough for sure. Who
    waits in vain is ended by the test's own timeout.
    """
    liveness.START_GRACE_SECONDS = 0
    liveness.CONFIRMATION_SECONDS = CONFIRMATION_SECONDS
    chance = random.Random(seed)
    workers = [fork(work, chance.random(), 0) for _ in range(WORKERS)]
    killed_so_far = release = 0
    while killed_so_far < kills or not much_happened():
        killed_so_far += 1
        if killed_so_far % KILLS_BETWEEN_DEPLOYS == 0:
            release += 1
            if release % 2:
                replace_all(workers, chance, release)
            os.waitpid(fork(deploy, release), 0)
        time.sleep(chance.uniform(0.02, 0.25))
        killed = workers.pop(chance.randrange(WORKERS))
        end(killed)
        started = max(0, release - (chance.random() < OLD_WORKERS))
        workers.append(fork(work, chance.random(), started))
    time.sleep(4 * CONFIRMATION_SECONDS + 2)
    for pid in workers:
        end(pid)


def replace_all(workers: list[int], chance: random.Random, release: int) -> None:
    """A downtime, after which every worker is one of the new release."""
    for pid in workers:
        end(pid)
    time.sleep(DOWNTIME_SECONDS)
    workers[:] = [fork(work, chance.random(), release) for _ in workers]


def much_happened() -> bool:
    """Whether there was enough of everything; asked on a connection that no fork inherits."""
    with psycopg.connect(autocommit=True, **connection_parameters(settings.current())) as session:
        return session.execute(MUCH_HAPPENED).fetchone() == (True, True, True)


def fork(work_in_child: Callable[..., NoReturn], *arguments: Any) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work_in_child(*arguments)
        finally:
            os._exit(1)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def deploy(release: int) -> NoReturn:
    """What `oms migrate` does in the release phase."""
    with connection():
        known_cadences.announce(plans_of(release))
    os._exit(0)


def work(seed: float, release: int) -> NoReturn:
    """What a worker does with its messages, of which it gets more than it should."""
    chance, parent = random.Random(seed), os.getppid()
    alive = liveness.Liveness(connection_parameters(settings.current())).start()
    witness = psycopg.connect(autocommit=True, **connection_parameters(settings.current()))
    plans = plans_of(release)
    with suppress(psycopg.Error), connection():
        known_cadences.record(plans)
    while os.getppid() == parent:
        time.sleep(chance.uniform(0, 0.1))
        plan = chance.choice(plans)
        # As the actor does: who is not seen to live claims nothing.
        if not alive.held():
            continue
        with suppress(psycopg.Error), connection():
            for _ in range(chance.choice((1, 1, 2))):
                attempt = ledger.claim(
                    plan, trigger=chance.choice(("periodiq", "tick")), worker=alive.worker, wait=time.sleep
                )
                if attempt is not None:
                    run(attempt, witness, chance)
            if chance.random() < 0.1:
                known_cadences.record(plans)
                orphans.close_orphans(None, time.sleep)
    os._exit(1)


def run(attempt: ledger.Attempt, witness: psycopg.Connection[Any], chance: random.Random) -> None:
    key = (WITNESS_CLASS, TASKS.index(attempt.task))
    if witness.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone() != (True,):
        note(attempt, "two live runs")
    time.sleep(chance.choice(WORK_SECONDS))
    witness.execute("SELECT pg_advisory_unlock(%s, %s)", key)
    if chance.random() < 0.15:
        ledger.fail(attempt, "by chance")
        # Its pause would outlast the simulation.
        execute(
            "UPDATE scheduled_runs SET next_attempt_at = now() WHERE id = %s AND state = 'failed'"
            " AND next_attempt_at IS NOT NULL",
            (attempt.id,),
        )
    elif ledger.succeed(attempt, {"attempt": attempt.attempts}):
        note(attempt, "succeeded")


def note(attempt: ledger.Attempt, event: str) -> None:
    execute(
        "INSERT INTO evidence (task, slot, event) VALUES (%s, %s, %s)", (attempt.task, attempt.slot, event)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
