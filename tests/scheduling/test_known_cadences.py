"""Cadences and switches that change: which one is in effect, and what becomes of the other one's slots.

Slots are weeks apart, so that none comes due in the middle of a test. A downtime is a `since` in the past.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from oms_workers.configuration.cadence import Interval
from oms_workers.database import database_now, execute, rows
from oms_workers.scheduling import known_cadences, ledger, process
from oms_workers.scheduling.configurations import TaskPlan
from oms_workers.scheduling.table import Task

TASK = "oms.tests.tasks.sweep"
WEEK = timedelta(weeks=1)
WEEKLY = Interval(int(WEEK.total_seconds()))
DAILY = Interval(86_400)
#: No two of their slots are at the same time.
OFFSET_WEEKLY = Interval(WEEKLY.seconds, offset=43_200)
OLD = TaskPlan(TASK, WEEKLY, enabled=True, catch_up=60 * WEEK)
NEW = TaskPlan(TASK, OFFSET_WEEKLY, enabled=True, catch_up=60 * WEEK)
OFF = TaskPlan(TASK, WEEKLY, enabled=False, catch_up=60 * WEEK)

pytestmark = pytest.mark.usefixtures("db")


def in_effect_for(weeks: int, plan: TaskPlan) -> datetime:
    """Let a process have run the plan for so many slots, the newest of which is returned."""
    known_cadences.record([plan])
    newest = plan.cadence.latest(database_now())
    execute(
        "UPDATE scheduled_tasks SET since = %s WHERE cadence = %s",
        (newest - (weeks - 1) * WEEK, str(plan.cadence)),
    )
    return newest


def in_effect() -> tuple[str, bool]:
    known = known_cadences.find(OLD)
    assert known is not None
    return str(known.cadence), known.enabled


def claim(plan: TaskPlan) -> ledger.Attempt | None:
    return ledger.claim(plan, trigger="tick", worker="elsewhere/1/00000000", wait=lambda _: None)


def ledger_rows() -> list[tuple[Any, ...]]:
    """Each row: its slots from the first to the last, how many, and what became of them."""
    return [
        tuple(row)
        for row in rows(
            "SELECT first_slot, slot, slots, coalesce(reason, state) FROM scheduled_runs ORDER BY slot"
        )
    ]


def test_a_cadence_that_changes_across_a_downtime_leaves_no_slot_without_a_row() -> None:
    newest = in_effect_for(7, OLD)

    known_cadences.record([NEW])

    assert ledger_rows() == [(newest - 6 * WEEK, newest, 7, "coalesced")]
    assert in_effect() == (str(OFFSET_WEEKLY), True)
    assert claim(NEW) is None


def test_a_task_that_is_disabled_across_a_downtime_leaves_no_slot_without_a_row() -> None:
    newest = in_effect_for(4, OLD)

    known_cadences.record([OFF])

    assert ledger_rows() == [(newest - 3 * WEEK, newest, 4, "disabled")]


def test_a_task_that_is_enabled_again_accounts_for_the_time_in_which_it_was_not() -> None:
    newest = in_effect_for(4, OFF)

    known_cadences.record([NEW])

    assert ledger_rows() == [(newest - 3 * WEEK, newest, 4, "disabled")]
    assert claim(NEW) is None


def test_slots_too_old_to_be_caught_up_with_are_stale_when_the_cadence_changes() -> None:
    newest = in_effect_for(3, OLD)

    known_cadences.record([TaskPlan(TASK, OFFSET_WEEKLY, enabled=True, catch_up=timedelta(0))])

    assert ledger_rows() == [(newest - 2 * WEEK, newest, 3, "stale")]


def test_only_what_nothing_accounts_for_is_accounted_for() -> None:
    newest = in_effect_for(5, OLD)
    execute(
        """
        INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger)
        VALUES (%s, %s, %s, 'succeeded', 'periodiq')
        """,
        (TASK, newest - 2 * WEEK, newest - 2 * WEEK),
    )

    known_cadences.record([NEW])

    assert [row[2:] for row in ledger_rows()] == [(1, "succeeded"), (2, "coalesced")]


def test_a_change_after_the_newest_slot_has_run_writes_nothing() -> None:
    in_effect_for(1, OLD)
    assert claim(OLD) is not None

    known_cadences.record([NEW])

    assert [row[3] for row in ledger_rows()] == ["running"]


def test_an_old_worker_that_starts_again_does_not_bring_its_cadence_back() -> None:
    known_cadences.record([OLD])
    in_effect_for(3, NEW)

    for _ in range(3):
        assert known_cadences.record([OLD]) == [OLD]
        assert known_cadences.record([NEW]) == []

    assert in_effect() == (str(OFFSET_WEEKLY), True)
    assert ledger_rows() == []


def test_an_old_worker_that_starts_again_does_not_disable_what_a_deploy_has_enabled() -> None:
    known_cadences.record([OFF])
    known_cadences.record([OLD])

    known_cadences.record([OFF])

    assert in_effect() == (str(WEEKLY), True)
    execute("UPDATE scheduled_tasks SET since = now() - interval '4 weeks'")
    assert claim(OLD) is not None


def test_an_old_process_claims_by_the_cadence_in_effect() -> None:
    known_cadences.record([OLD])
    newest = in_effect_for(3, NEW)

    attempt = claim(OLD)

    assert attempt is not None
    assert attempt.slot == newest
    assert ledger_rows() == [
        (newest - 2 * WEEK, newest - WEEK, 2, "coalesced"),
        (newest, newest, 1, "running"),
    ]


def test_a_process_that_has_a_task_disabled_leaves_an_enabled_one_to_the_others() -> None:
    known_cadences.record([OFF])
    newest = in_effect_for(2, OLD)

    assert claim(OFF) is None
    assert ledger.is_due(OFF) is None
    assert ledger_rows() == []
    assert ledger.is_due(OLD) == newest


def test_an_outage_after_the_old_worker_s_tick_takes_no_slot_from_the_new_cadence() -> None:
    known_cadences.record([OLD])
    newest = in_effect_for(49, NEW)
    execute("UPDATE task_configurations SET last_seen = now() - interval '11 minutes'")
    execute(
        "UPDATE task_configurations SET alone_since = last_seen, last_seen = now() - interval '10 minutes'"
        " WHERE cadence = %s",
        (str(WEEKLY),),
    )

    known_cadences.record([OLD])
    known_cadences.record([NEW])
    claim(NEW)

    assert ledger_rows() == [
        (newest - 48 * WEEK, newest - WEEK, 48, "coalesced"),
        (newest, newest, 1, "running"),
    ]


def test_an_earlier_configuration_that_is_alone_for_ten_minutes_takes_effect() -> None:
    known_cadences.record([OLD])
    newest = in_effect_for(2, NEW)
    execute("UPDATE task_configurations SET last_seen = now() - interval '11 minutes'")

    assert known_cadences.record([OLD]) == [OLD]
    execute("UPDATE task_configurations SET alone_since = alone_since - interval '10 minutes'")
    assert known_cadences.record([OLD]) == []

    assert in_effect() == (str(WEEKLY), True)
    assert ledger_rows() == [(newest - WEEK, newest, 2, "coalesced")]
    # And the one that it replaced is the older one now.
    assert known_cadences.record([NEW]) == [NEW]


def test_a_deploy_that_goes_back_takes_effect_at_once() -> None:
    known_cadences.record([OLD])
    known_cadences.record([NEW])

    known_cadences.announce([OLD])
    assert in_effect() == (str(OFFSET_WEEKLY), True)
    known_cadences.record([OLD])

    assert in_effect() == (str(WEEKLY), True)


def test_a_release_that_was_refused_takes_no_effect_when_an_old_process_starts_again() -> None:
    in_effect_for(2, OLD)

    known_cadences.announce([NEW])
    assert known_cadences.record([OLD]) == []

    assert in_effect() == (str(WEEKLY), True)
    assert ledger_rows() == []
    # The release after it changes nothing, and what was refused stays the older one.
    known_cadences.announce([OLD])
    known_cadences.record([OLD])
    assert known_cadences.record([NEW]) == [NEW]


def test_a_new_task_counts_from_the_release_that_announces_it() -> None:
    known_cadences.announce([OLD])

    assert in_effect() == (str(WEEKLY), True)


def test_what_the_previous_release_has_recorded_goes_on() -> None:
    execute(
        """
        INSERT INTO scheduled_tasks (task, cadence, enabled, since, last_seen)
        VALUES (%s, %s, true, now() - interval '100 days', now() - interval '1 day'),
               (%s, %s, true, now() - interval '4 weeks', now())
        """,
        (TASK, str(OFFSET_WEEKLY), TASK, str(WEEKLY)),
    )
    newest = WEEKLY.latest(database_now())

    known_cadences.record([OLD])
    attempt = claim(OLD)

    assert attempt is not None
    assert attempt.slot == newest
    assert ledger_rows()[0][2:] == (3, "coalesced")


def test_a_switch_that_the_previous_release_has_turned_is_turned_back() -> None:
    newest = in_effect_for(2, OLD)
    execute("UPDATE scheduled_tasks SET enabled = false")

    assert known_cadences.record([OLD]) == []

    assert in_effect() == (str(WEEKLY), True)
    assert ledger_rows() == [(newest - WEEK, newest, 2, "disabled")]


def test_a_cadence_that_only_a_newer_release_can_read_is_left_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_effect_for(2, OLD)
    execute("UPDATE scheduled_tasks SET cadence = 'at full moon', generation = 99")

    assert claim(OLD) is None
    assert ledger.is_due(OLD) is None
    assert ledger_rows() == []
    assert "'at full moon' is no cadence that this release knows" in caplog.text


def test_a_process_says_at_its_start_that_its_configuration_is_the_older_one(
    task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known_cadences.record([task.plan])
    known_cadences.record([TaskPlan(task.path, DAILY, enabled=True, catch_up=WEEK)])
    monkeypatch.setattr(process, "_recorded", False)

    with caplog.at_level(logging.WARNING):
        process.record_cadences()

    assert "run `oms migrate`" in caplog.text
    assert task.path in caplog.text
