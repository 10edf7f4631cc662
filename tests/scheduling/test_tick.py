"""The tick: what it sends, and what it leaves alone."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from peewee import OperationalError

from oms_workers.broker import current
from oms_workers.configuration.cadence import Interval
from oms_workers.database import database_now, execute, rows
from oms_workers.scheduling import ledger, liveness, process, retention, table, tick, ticker
from oms_workers.scheduling.operation import TICK
from oms_workers.scheduling.table import Task

DEAD = "elsewhere/1/00000000"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "START_GRACE_SECONDS", 0)
    monkeypatch.setattr(liveness, "CONFIRMATION_SECONDS", 0)


def sent() -> list[dict[str, Any]]:
    """What is in the queue."""
    messages = current().client.hgetall("dramatiq:default.msgs").values()  # type: ignore[union-attr]
    return [json.loads(message) for message in messages]


def claim(task: Task) -> ledger.Attempt:
    attempt = ledger.claim(task.plan, trigger="periodiq", worker=process.worker(), wait=lambda _: None)
    assert attempt is not None
    return attempt


def test_a_slot_that_nobody_came_for_is_sent(task: Task, slot: datetime) -> None:
    tick.tick()

    (message,) = sent()
    assert message["actor_name"] == task.path
    assert message["options"]["scheduled_at"] == slot.isoformat()
    assert message["options"]["trigger"] == "tick"


@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
def test_nothing_healthy_is_sent_twice(task: Task, slot: datetime, state: str) -> None:
    attempt = claim(task)
    if state == "succeeded":
        ledger.succeed(attempt, None)
    elif state == "failed":
        ledger.fail(attempt, "its pause is not over")

    tick.tick()

    assert sent() == []


def test_a_failure_is_sent_again_when_its_pause_is_over(task: Task, slot: datetime) -> None:
    ledger.fail(claim(task), "no such luck")
    execute("UPDATE scheduled_runs SET next_attempt_at = now()")

    tick.tick()

    assert len(sent()) == 1


def test_a_dead_worker_s_slot_is_sent_again(task: Task, slot: datetime) -> None:
    claim(task)
    execute("UPDATE scheduled_runs SET worker = %s", (DEAD,))

    tick.tick()

    assert [message["options"]["scheduled_at"] for message in sent()] == [slot.isoformat()]
    assert rows("SELECT state, error FROM scheduled_runs") == [("failed", "worker died")]


def test_a_disabled_task_is_not_sent_and_its_orphan_is_closed(
    task: Task, slot: datetime, configure: Any
) -> None:
    claim(task)
    execute("UPDATE scheduled_runs SET worker = %s", (DEAD,))
    configure(**{task.env_key: "false"})

    tick.tick()

    assert sent() == []
    assert rows("SELECT state FROM scheduled_runs") == [("failed",)]


def test_what_cannot_be_forgotten_keeps_nothing_from_being_sent(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> int:
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(retention, "prune", refuse)
    monkeypatch.setattr(tick, "is_unreachable", lambda error: False)

    tick.tick()

    assert len(sent()) == 1
    assert "Old runs cannot be forgotten" in caplog.text


def test_one_task_of_which_nothing_can_be_told_keeps_no_other_from_being_sent(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ledger.is_due
    broken = replace(task, name="broken")
    table.register([broken, task])
    monkeypatch.setattr(table, "tasks", lambda: [broken, task])
    looks: list[str] = []

    def is_due(plan: Any) -> Any:
        looks.append(plan.task)
        if len(looks) == 1:
            raise ValueError("no such cadence")
        return real(plan)

    monkeypatch.setattr(ledger, "is_due", is_due)

    tick.tick()

    assert len(sent()) == 1


def test_a_slot_that_cannot_be_sent_keeps_no_other_from_being_sent_nor_the_tick_from_its_end(
    task: Task, slot: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, unsendable = tick.send, replace(task, name="unsendable")
    monkeypatch.setattr(table, "tasks", lambda: [unsendable, task])

    def send(to_send: Task, *arguments: Any) -> None:
        if to_send.name == "unsendable":
            raise redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        real(to_send, *arguments)

    monkeypatch.setattr(tick, "send", send)

    assert tick.tick_if_due()
    assert not tick.tick_if_due()

    assert len(sent()) == 1
    assert "The slot of unsendable cannot be sent" in caplog.text


def test_old_runs_are_forgotten(task: Task, slot: datetime) -> None:
    for days in (32, 31):
        execute(
            """
            INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger)
            VALUES ('gone', now() - %s * interval '1 day', now() - interval '40 days', 'succeeded', 'tick')
            """,
            (days,),
        )

    tick.tick()

    assert rows("SELECT count(*) FROM scheduled_runs WHERE task = 'gone'") == [(1,)]


def test_it_leaves_its_own_time_where_status_looks(task: Task) -> None:
    assert (tick.last_sent(), tick.last_run()) == (None, None)

    ticker.JOB.send()
    tick.tick()

    last_sent, last_run = tick.last_sent(), tick.last_run()
    assert last_sent is not None
    assert last_run is not None
    assert abs(database_now() - last_run) < timedelta(minutes=1)
    assert abs(database_now() - last_sent) < timedelta(minutes=1)


def test_its_slots_lie_half_a_period_after_the_minute_s_own(configure: Any) -> None:
    assert tick.tick_cadence() == Interval(60, offset=30)
    configure(TICK_SECONDS=5)
    assert tick.tick_cadence() == Interval(5, offset=2)


def test_periodiq_is_given_the_enabled_tasks_and_the_tick(task: Task, configure: Any) -> None:
    tick.schedule()
    assert str(task.actor.options["periodic"]) == "every 604800 s"
    assert str(current().get_actor(TICK).options["periodic"]) == "every 60 s at +30 s"

    del task.actor.options["periodic"]
    configure(**{task.env_key: "false"})
    tick.schedule()
    assert "periodic" not in task.actor.options
