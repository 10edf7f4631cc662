"""Real processes, real servers, and what breaks in production broken on purpose."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psutil
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
    # What was drained is not charged, and started again by nobody: all is quiet when it is counted.
    on.processes.stop()
    starts = on.evidence_log().count("start quick")
    assert starts == sum(run.attempts for run in on.runs("quick"))


def test_a_clock_that_is_killed_loses_no_slot(on: Stage) -> None:
    on.start("clock", "worker")
    on.until_success("quick")

    on.processes.signal("clock", signal.SIGKILL)
    on.until_success("quick")
    on.processes.stop("clock")
    # The workers' ticks send what the clock should have sent.
    on.until(lambda: on.runs("quick")[-1].trigger == "tick", 20)
    on.processes.stop("worker")
    silent_from = on.runs("quick")[-1].slot
    on.until(lambda: (datetime.now(UTC) - silent_from).total_seconds() > 7, 10)
    on.start("clock", "worker")
    on.until_success("quick")
    on.until_success("slow")

    on.assert_sound()
    gaps = [run for run in on.runs("quick") if run.reason == "coalesced" and run.first_slot > silent_from]
    assert gaps[0].slots >= 2


def test_messages_lost_with_redis_are_sent_again() -> None:
    # Weekly, so that no later message of the task does what the lost one was for.
    with stage(ARCHIVE_OLD_AUDIT_EVENTS_SCHEDULE="604800", CATCH_UP_SECONDS="604800") as on:
        on.start("clock", "worker")
        on.until_success("quick")
        on.processes.stop("worker")
        let_the_weekly_slot_be_due(on)
        client = redis.Redis.from_url(on.valkey.url)
        on.until(lambda: client.llen("dramatiq:default") >= 4, 10)

        client.flushall()
        client.close()
        on.start("worker")
        (slow,) = on.until(lambda: on.successes("slow"), 30)

        assert (slow.trigger, slow.attempts) == ("tick", 1)


def let_the_weekly_slot_be_due(on: Stage) -> None:
    """The cadence is made older than its last slot, for which no message was ever sent."""
    on.until(lambda: on.query("SELECT 1 FROM scheduled_tasks WHERE task LIKE '%slow'"), 20)
    on.query("UPDATE scheduled_tasks SET since = since - interval '8 days' RETURNING 1")


def test_a_clock_waits_for_a_redis_that_is_full(on: Stage) -> None:
    on.start("clock", "worker")
    on.until_success("quick")
    client = redis.Redis.from_url(on.valkey.url)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    on.until(lambda: "Redis takes nothing" in on.processes.log("clock"), 20)

    client.config_set("maxmemory", 0)
    client.close()
    on.until_success("slow")

    assert [name for name, _ in on.processes.exits if name == "clock"] == []
    on.assert_sound()


@pytest.mark.parametrize("seconds", [6, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.parametrize("server", ["valkey", "postgres"])
def test_a_server_that_is_away_for_a_while_costs_no_slot(on: Stage, server: str, seconds: float) -> None:
    on.start("clock", "worker")
    on.until_success("slow")

    if server == "valkey":
        on.valkey.stop()
        time.sleep(seconds)
        on.valkey.start()
    else:
        on.postgres.stop(mode="immediate")
        time.sleep(seconds)
        on.postgres.start()
    on.until_success("slow", 60)
    on.until_success("quick", 60)

    on.assert_sound()


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.soak)])
def test_clock_and_worker_live_through_an_outage(on: Stage, seconds: float) -> None:
    on.start("clock", "worker")
    on.until_success("slow")
    before = on.alive()

    on.valkey.stop()
    on.postgres.stop(mode="immediate")
    time.sleep(seconds)
    on.postgres.start()
    on.valkey.start()
    on.until_success("slow", 60)
    on.until_success("quick", 60)

    assert on.processes.exits == []
    assert on.alive() == before
    on.assert_sound()


def test_a_worker_killed_in_the_middle_of_a_run_is_replaced_within_90_s(on: Stage) -> None:
    on.start("clock", "worker", "worker2")
    running = on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)

    on.kill_worker_of(running[0])
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
        let_the_weekly_slot_be_due(on)
        first = on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)[0]
        name = "worker" if int(first.worker.split("/")[1]) in on.family("worker") else "worker2"

        started = time.monotonic()
        for _ in range(times - 1):
            on.processes.signal(name, signal.SIGTERM)
            time.sleep(0.2)
        status = on.processes.stop(name)[name]
        drained = time.monotonic() - started

        # The fifth may come while the master, which has drained its worker, is at its very end.
        assert status in ((0,) if times == 1 else (0, -signal.SIGTERM)), on.logs()
        assert drained < 30
        again = on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)[0]
        assert (again.id, again.attempts) == (first.id, 1)
        assert again.worker != first.worker


@pytest.mark.soak
def test_sigterm_drains_within_30_s_while_redis_is_away() -> None:
    with stage(SLOW_SECONDS="3600") as on:
        on.start("worker", "clock")
        on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)
        on.valkey.stop()

        started = time.monotonic()
        status = on.processes.stop("worker")["worker"]

        assert time.monotonic() - started < 30
        assert status == 0, on.logs()
        assert [run.state for run in on.runs("slow") if run.worker][-1] == "failed"


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """The processes and all that they have started stand still for the block, and their sockets stay open."""
    found = [psutil.Process(pid) for pid in pids]
    found += [child for process in found for child in process.children(recursive=True)]
    for process in found:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(found):
            process.resume()


@pytest.mark.soak
@pytest.mark.parametrize("servers", [("valkey",), ("postgres",), ("valkey", "postgres")], ids="+".join)
def test_sigterm_ends_a_worker_within_30_s_while_servers_are_frozen(servers: tuple[str, ...]) -> None:
    with stage(SLOW_SECONDS="3600") as on:
        on.start("worker", "clock")
        on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 20)
        pids = {"valkey": on.valkey.pid, "postgres": on.postgres.pid}

        with frozen(*(pids[server] for server in servers)):
            started = time.monotonic()
            on.processes.stop("worker", "clock")
            drained = time.monotonic() - started

        assert drained < 29.5, on.logs()
        on.start("worker", "clock")
        on.until_success("quick", 60)
        on.until(lambda: [run for run in on.runs("slow") if run.state == "running"], 60)


def test_a_worker_ends_with_its_master(on: Stage) -> None:
    # Not by the supervisor, which kills what a master leaves behind.
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec env {on.commands['worker']}"],
        env=on.processes.environment,
        cwd=on.evidence,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as master:
        on.until(lambda: on.query("SELECT 1 FROM workers"), 20)
        children = psutil.Process(master.pid).children(recursive=True)

        master.kill()

    assert children
    on.until(lambda: not any(child.is_running() for child in children), 20)


def test_a_clock_ends_at_once_and_well_on_sigterm(on: Stage) -> None:
    on.start("clock", "worker")
    # A worker runs what is due without a clock, so a success does not say that this one has begun.
    on.until(lambda: on.query("SELECT 1 FROM scheduled_runs WHERE trigger = 'periodiq'"), 30)

    assert on.processes.stop("clock") == {"clock": 0}
