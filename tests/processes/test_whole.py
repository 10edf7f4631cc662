"""The whole of it: the Procfile's own processes, orders over HTTP, packages in the end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from oms_workers.sandbox.omnitron import TOKEN
from oms_workers.sandbox.servers import free_port
from tests.processes.stage import PROJECT, Stage, directory, stage

#: DESIGN's limits for one clock and one worker together, so that two generations fit a 20-connection plan.
MAX_CONNECTIONS = 9
MAX_MEGABYTES = 256


@pytest.fixture
def on() -> Iterator[Stage]:
    port = free_port()
    variables = {
        "OMNITRON_ORDERS": "true",
        "OMNITRON_ORDERS_SCHEDULE": "2",
        "FULFIL_WAITING_ORDERS_SCHEDULE": "2",
        "OMNITRON_URL": f"http://127.0.0.1:{port}",
        "OMNITRON_TOKEN": TOKEN,
    }
    with stage(table="schedules", **variables) as running:
        load(running)
        sandbox = f"python -m oms_workers.sandbox.omnitron --port {port} --orders-per-second 20"
        running.processes.start({"sandbox": sandbox})
        running.start("clock", "worker")
        yield running


def load(on: Stage) -> None:
    files = " ".join(str(path) for path in sorted((PROJECT / "examples").glob("*.json")))
    assert on.processes.run("load", f"python -m oms_workers load {files}") == 0, on.processes.log("load")


def planned(on: Stage) -> int:
    return on.query("SELECT count(*) AS n FROM orders WHERE state = 'planned'")[0].n


def test_orders_become_packages_within_the_footprint(on: Stage) -> None:
    client = redis.Redis.from_url(on.valkey.url)
    most_redis = most_postgres = 0

    def watch() -> bool:
        nonlocal most_redis, most_postgres
        most_redis = max(most_redis, len(client.client_list()) - 1)
        most_postgres = max(most_postgres, on.query(PEERS)[0].n)
        return planned(on) >= 300

    on.until(watch, 60)

    client.close()
    assert most_redis <= MAX_CONNECTIONS
    assert most_postgres <= MAX_CONNECTIONS
    assert megabytes(on) <= MAX_MEGABYTES
    assert on.processes.exits == []
    assert on.query(MISCOUNTED) == []
    assert on.query("SELECT 1 FROM rejected_orders WHERE reason = ''") == []
    assert on.query("SELECT count(*) AS n FROM rejected_orders")[0].n >= 10


PEERS = """
    SELECT count(*) AS n
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name LIKE 'oms-workers%'
"""

#: Stock whose counter is not the sum of its live reservations, or that is oversold.
MISCOUNTED = """
    SELECT stock.sku, stock.location_id, reserved, on_hand, coalesce(sum(quantity), 0) AS live
    FROM stock
    LEFT JOIN reservations ON reservations.sku = stock.sku AND reservations.location_id = stock.location_id
     AND released_at IS NULL
    GROUP BY stock.sku, stock.location_id
    HAVING reserved <> coalesce(sum(quantity), 0) OR reserved > on_hand
"""


def megabytes(on: Stage) -> float:
    """What clock and worker have of the machine's memory, shared pages counted in parts."""
    pids = on.alive()
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 1024 / 1024


def test_make_run_is_oms_up_and_ends_by_itself() -> None:
    """`oms up` in a directory of its own: it starts from nothing, moves orders, and leaves nothing behind."""
    with directory() as place:
        up = oms_up(place, "--seconds", "25")
        said, errors = up.communicate(timeout=120)

        assert up.returncode == 0, said + errors
        summary = said.splitlines()[-1]
        moved = re.search(r"(\d+) orders pulled, .*, (\d+) planned into .*, of which (\d+) packed", summary)
        assert moved is not None, summary
        assert all(int(count) > 0 for count in moved.groups()), summary
        assert not (place / ".oms" / "servers.json").exists()
        assert left_by(place) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_oms_up_leaves_nothing_behind_however_it_ends(number: signal.Signals) -> None:
    with directory() as place:
        up = oms_up(place)
        assert up.stdout is not None
        assert "orders pulled" in up.stdout.readline()
        assert len(left_by(place)) >= 6

        up.send_signal(number)

        deadline = time.monotonic() + 40
        while left_by(place):
            assert time.monotonic() < deadline, left_by(place)
            time.sleep(0.2)
        up.communicate()
        assert not (place / ".oms" / "servers.json").exists()


def test_ctrl_c_lets_the_worker_drain_before_the_servers_stop() -> None:
    """A terminal sends Ctrl-C to all of its foreground: whoever is in it stops at once."""
    with directory() as place:
        up = oms_up(place)
        assert up.stdout is not None
        assert "orders pulled" in up.stdout.readline()
        worker = place / ".oms" / "logs" / "worker.log"
        deadline = time.monotonic() + 30
        while not (worker.exists() and "is done" in worker.read_text()):
            assert time.monotonic() < deadline, worker.read_text()
            time.sleep(0.1)

        os.killpg(up.pid, signal.SIGINT)
        _, errors = up.communicate(timeout=60)

        assert up.returncode == 0, errors
        said = worker.read_text()
        assert "onnection" not in said, said
        assert left_by(place) == []


def test_oms_up_works_in_a_directory_with_an_odd_name() -> None:
    with directory() as parent:
        place = parent / "with blanks & 'quotes'"
        place.mkdir()

        up = oms_up(place, "--seconds", "6")
        said, errors = up.communicate(timeout=120)

        assert "orders pulled" in said, errors
        assert "Traceback" not in errors
        assert left_by(place) == []


def oms_up(place: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "oms_workers", "up", *arguments],
        cwd=place,
        env={**environment, "PYTHONPATH": str(PROJECT), MARK: str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process group of its own, as a terminal's foreground is.
        start_new_session=True,
    )


#: The variable by which the descendants of an `oms up` are known, whoever their parent is by now.
MARK = "OMS_TEST_MARK"


def left_by(place: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(MARK) == str(place) or str(place) in " ".join(process.cmdline()):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found
