"""Real processes, real servers, and what breaks in production broken on purpose."""

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import redis

from tests.processes.stage import Stage, stage


@pytest.fixture
def on() -> Iterator[Stage]:
    with stage() as running:
        yield running


def test_two_clocks_run_each_slot_once(on: Stage) -> None:
    on.start("clock", "clock2", "worker", "worker2")
    on.until_success("slow")
    on.until_success("slow")

    on.assert_sound()
    starts = on.evidence_log().count("start quick")
    assert starts == sum(run.attempts for run in on.runs("quick"))


def test_a_clock_that_is_killed_loses_no_slot(on: Stage) -> None:
    on.start("clock", "worker")
    on.until_success("quick")

    on.processes.signal("clock", signal.SIGKILL)
    on.until_success("quick")
    on.processes.stop("clock")
    silent_from = on.runs("quick")[-1].slot
    on.until(lambda: (datetime.now(UTC) - silent_from).total_seconds() > 7, 10)
    on.start("clock")
    on.until_success("quick")
    on.until_success("slow")

    on.assert_sound()
    (gap,) = [run for run in on.runs("quick") if run.reason == "coalesced" and run.first_slot > silent_from]
    assert gap.slots >= 2


def test_messages_lost_with_redis_are_sent_again(on: Stage) -> None:
    on.start("clock", "worker")
    on.until_success("quick")
    on.processes.stop("worker")
    client = redis.Redis.from_url(on.valkey.url)
    on.until(lambda: client.llen("dramatiq:default") >= 4, 10)

    client.flushall()
    on.start("worker")
    on.until_success("quick")
    on.until_success("slow")

    client.close()
    on.assert_sound()


@pytest.mark.parametrize("server", ["valkey", "postgres"])
def test_a_server_that_is_away_for_20_s_costs_no_slot(on: Stage, server: str) -> None:
    on.start("clock", "worker")
    on.until_success("slow")

    if server == "valkey":
        on.valkey.stop()
        time.sleep(20)
        on.valkey.start()
    else:
        on.postgres.stop(mode="immediate")
        time.sleep(20)
        on.postgres.start()
    on.until_success("slow", 60)
    on.until_success("quick", 60)

    on.assert_sound()


def test_clock_and_worker_live_through_an_outage_of_60_s(on: Stage) -> None:
    on.start("clock", "worker")
    on.until_success("slow")
    before = on.alive()

    on.valkey.stop()
    on.postgres.stop(mode="immediate")
    time.sleep(60)
    on.postgres.start()
    on.valkey.start()
    on.until_success("slow", 60)
    on.until_success("quick", 60)

    assert on.processes.exits == []
    assert on.alive() == before
    on.assert_sound()


def test_a_worker_killed_in_the_middle_of_a_run_is_replaced_within_90_s(on: Stage) -> None:
    on.start("clock", "worker", "worker2")
    on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)

    on.kill_worker_of("slow")
    killed_at = time.monotonic()
    on.until(lambda: [run for run in on.runs("slow") if run.error == "worker died" or run.attempts > 1], 90)
    on.until_success("slow", 90 - (time.monotonic() - killed_at))

    on.assert_sound()


@pytest.mark.parametrize("times", [1, 5])
def test_sigterm_drains_within_30_s_and_hands_the_run_over(times: int) -> None:
    hour_long = {
        "SLOW_SECONDS": "3600",
        "ARCHIVE_OLD_AUDIT_EVENTS_SCHEDULE": "604800",
        "CATCH_UP_SECONDS": "604800",
    }
    with stage(**hour_long) as on:
        on.start("worker", "worker2", "clock")
        on.until(lambda: on.query("SELECT 1 FROM scheduled_tasks WHERE task LIKE '%slow'"), 20)
        # The cadence is made older than its last slot, so that the tick finds one to send.
        on.query("UPDATE scheduled_tasks SET since = since - interval '8 days' RETURNING 1")
        first = on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)[0]
        name = "worker" if int(first.worker.split("/")[1]) in on.family("worker") else "worker2"

        started = time.monotonic()
        for _ in range(times - 1):
            on.processes.signal(name, signal.SIGTERM)
            time.sleep(0.2)
        status = on.processes.stop(name)[name]
        drained = time.monotonic() - started

        assert status == 0, on.logs()
        assert drained < 30
        again = on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)[0]
        assert (again.id, again.attempts) == (first.id, 1)
        assert again.worker != first.worker
