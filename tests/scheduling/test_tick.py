"""The tick: what it sends, and what it leaves alone."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from oms_workers.broker import broker
from oms_workers.database import database_now, execute, rows
from oms_workers.scheduling import ledger, liveness, process, tick
from oms_workers.scheduling.cadence import Interval
from oms_workers.scheduling.table import ScheduledTask

DEAD = "elsewhere/1/00000000"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 0)
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0)


def sent() -> list[dict[str, Any]]:
    """What is in the queue."""
    messages = broker.client.hgetall("dramatiq:default.msgs").values()  # type: ignore[union-attr]
    return [json.loads(message) for message in messages]


def claim(task: ScheduledTask) -> ledger.Attempt:
    attempt = ledger.claim(task.plan, trigger="periodiq", worker=process.worker(), wait=lambda _: None)
    assert attempt is not None
    return attempt


def test_a_slot_that_nobody_came_for_is_sent(task: ScheduledTask, slot: datetime) -> None:
    tick.tick()

    (message,) = sent()
    assert message["actor_name"] == task.path
    assert message["options"]["scheduled_at"] == slot.isoformat()
    assert message["options"]["trigger"] == "tick"


@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
def test_nothing_healthy_is_sent_twice(task: ScheduledTask, slot: datetime, state: str) -> None:
    attempt = claim(task)
    if state == "succeeded":
        ledger.succeed(attempt, None)
    elif state == "failed":
        ledger.fail(attempt, "its pause is not over")

    tick.tick()

    assert sent() == []


def test_a_failure_is_sent_again_when_its_pause_is_over(task: ScheduledTask, slot: datetime) -> None:
    ledger.fail(claim(task), "no such luck")
    execute("UPDATE scheduled_runs SET next_attempt_at = now()")

    tick.tick()

    assert len(sent()) == 1


def test_a_dead_worker_s_slot_is_sent_again(task: ScheduledTask, slot: datetime) -> None:
    claim(task)
    execute("UPDATE scheduled_runs SET worker = %s", (DEAD,))

    tick.tick()

    assert [message["options"]["scheduled_at"] for message in sent()] == [slot.isoformat()]
    assert rows("SELECT state, error FROM scheduled_runs") == [("failed", "worker died")]


def test_a_disabled_task_is_not_sent_and_its_orphan_is_closed(
    task: ScheduledTask, slot: datetime, configure: Any
) -> None:
    claim(task)
    execute("UPDATE scheduled_runs SET worker = %s", (DEAD,))
    configure(**{task.env_key: "false"})

    tick.tick()

    assert sent() == []
    assert rows("SELECT state FROM scheduled_runs") == [("failed",)]


def test_it_keeps_the_cadences_seen_without_starting_them_anew(task: ScheduledTask, slot: datetime) -> None:
    execute("UPDATE scheduled_tasks SET last_seen = now() - interval '1 day'")

    tick.tick()

    (known,) = rows(
        "SELECT since, now() - last_seen AS unseen FROM scheduled_tasks WHERE task = %s", (task.path,)
    )
    assert known.since == slot
    assert known.unseen < timedelta(minutes=1)


def test_it_leaves_its_own_time_where_status_looks(task: ScheduledTask) -> None:
    assert tick.last_tick() == (None, None)

    tick.tick_actor.send()
    tick.tick()

    last_sent, last_run = tick.last_tick()
    assert last_sent is not None
    assert last_run is not None
    assert abs(database_now() - last_run) < timedelta(minutes=1)
    assert abs(database_now() - last_sent) < timedelta(minutes=1)


def test_its_slots_lie_half_a_period_after_the_minute_s_own(configure: Any) -> None:
    assert tick.tick_cadence() == Interval(60, offset=30)
    configure(TICK_SECONDS=5)
    assert tick.tick_cadence() == Interval(5, offset=2)


def test_periodiq_is_given_the_enabled_tasks_and_the_tick(task: ScheduledTask, configure: Any) -> None:
    tick.schedule()
    assert str(task.actor.options["periodic"]) == "every 604800 s"
    assert str(tick.tick_actor.options["periodic"]) == "every 60 s at +30 s"

    del task.actor.options["periodic"]
    configure(**{task.env_key: "false"})
    tick.schedule()
    assert "periodic" not in task.actor.options
