"""What a hundred deaths leave in the ledger."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import settings
from oms_workers.database import execute, rows
from oms_workers.scheduling import liveness, orphans
from tests.scheduling.simulation import MUCH_HAPPENED, PERIOD, TASKS, plan_of

PROJECT = Path(settings.__file__).parent
KILLS = 120

COMPLETED_TWICE = """
    SELECT task, slot FROM evidence WHERE event = 'succeeded' GROUP BY task, slot HAVING count(*) > 1
"""


def test_a_hundred_kills_leave_every_slot_in_one_row_and_no_task_with_two_runs(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 0)
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0)
    execute("CREATE TABLE evidence (task text, slot timestamptz, event text)")
    try:
        subprocess.run(
            [sys.executable, "-m", "tests.scheduling.simulation", str(KILLS), "20261124"],
            cwd=PROJECT,
            check=True,
            timeout=180,
        )
        orphans.close_orphans(None, lambda _: None)

        assert rows("SELECT task, slot FROM evidence WHERE event = 'two live runs'") == []
        assert rows("SELECT task, slot FROM scheduled_runs WHERE state = 'running'") == []
        assert rows(COMPLETED_TWICE) == []
        for task in TASKS:
            check_ledger(task)
        # What has happened stays: the simulation went on until there was enough of it.
        assert rows(MUCH_HAPPENED) == [(True, True, True)]
    finally:
        execute("DROP TABLE evidence")


def check_ledger(task: str) -> None:
    runs = rows("SELECT * FROM scheduled_runs WHERE task = %s ORDER BY slot", (task,))
    (known,) = rows("SELECT since, clock_timestamp() AS now FROM scheduled_tasks WHERE task = %s", (task,))

    assert runs[0].first_slot == plan_of(task).cadence.next(known.since - PERIOD / 1000)
    for before, after in pairwise(runs):
        assert after.first_slot == before.slot + PERIOD, (before, after)
        assert after.slots == (after.slot - after.first_slot) / PERIOD + 1
    assert known.now - runs[-1].slot < 20 * PERIOD
