"""What a hundred deaths and some deploys leave in the ledger."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import settings
from oms_workers.database import execute, rows
from oms_workers.scheduling import liveness, orphans
from tests.scheduling.simulation import MUCH_HAPPENED, PERIOD, TASKS

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
        assert rows("SELECT count(*) > 0 FROM scheduled_runs WHERE reason = 'disabled'") == [(True,)]
        assert rows("SELECT max(generation) > 4 FROM task_configurations") == [(True,)]
        # What has happened stays: the simulation went on until there was enough of it.
        assert rows(MUCH_HAPPENED) == [(True, True, True)]
    finally:
        execute("DROP TABLE evidence")


def check_ledger(task: str) -> None:
    runs = rows("SELECT * FROM scheduled_runs WHERE task = %s ORDER BY slot", (task,))
    (known,) = rows("SELECT clock_timestamp() AS now")

    for before, after in pairwise(runs):
        # Every cadence of the simulation has a slot at each even second.
        next_even = before.slot + PERIOD * (2 - before.slot.second % 2)
        assert before.slot < after.first_slot <= next_even, (before, after)
        seconds = (after.slot - after.first_slot) / PERIOD
        assert after.slots in (seconds + 1, seconds // 2 + 1)
    assert known.now - runs[-1].slot < 20 * PERIOD
