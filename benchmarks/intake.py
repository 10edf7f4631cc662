"""How fast are orders pulled, stored and acknowledged?

    python -m benchmarks.intake [--rounds 5]

A hub on loopback answers at once, and after 50 ms. Beside the pull, and in turn with it, a bare loop of
`requests` makes the same calls with the same threads and stores nothing. The ratio is that of their speeds.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import requests
from pydantic import SecretStr

import settings
from benchmarks import world
from oms_workers.database import connection, database_now, rows
from oms_workers.orders.client import Omnitron
from oms_workers.orders.pull import pull
from oms_workers.scheduling.run import Run

THREADS, PAGE = 8, 100
TOKEN = "bench"

#: Milliseconds an answer takes, how many orders are pulled a round, and the least ratio that is asked for.
CASES = ((0, 1_000, 0.5), (50, 400, 0.85))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the intake beside a bare loop of requests.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(world.describe_machine())
    with world.postgres():
        first = 1
        for milliseconds, orders, least in CASES:
            with a_hub(milliseconds) as url:
                ratios, ours = [], []
                for _ in range(rounds):
                    reset(url, first, orders)
                    bare = orders / timed_loop(url, orders)
                    calls = reset(url, first, orders)
                    pulled = orders / timed_pull(url, orders)
                    first += orders
                    assert reset(url, first, orders) == calls, "the two did not make the same calls"
                    ours.append(pulled)
                    ratios.append(pulled / bare)
                    print(f"{milliseconds} ms: {pulled:,.0f} orders/s, the bare loop {bare:,.0f}")
                median = statistics.median(ratios)
                print(
                    f"{milliseconds} ms an answer: {statistics.median(ours):,.0f} orders/s, ratio"
                    f" {min(ratios):.2f}-{max(ratios):.2f}, median {median:.2f}, asked for: at least {least}"
                )


def reset(url: str, first: int, orders: int) -> int:
    """Let the hub offer these orders; returns how many calls it had before."""
    asked = {"first": first, "count": orders}
    return int(requests.post(f"{url}/reset", json=asked, timeout=10).json()["calls"])


def timed_pull(url: str, orders: int) -> float:
    """The seconds of one run of the pull."""
    told = {"omnitron_url": url, "omnitron_token": SecretStr(TOKEN), "omnitron_page_size": PAGE}
    configuration = settings.current().model_copy(update=told)
    with connection():
        before, now = stored(), database_now()
    started = time.perf_counter()
    run = Run(now, budget=timedelta(minutes=5))
    with Omnitron(configuration, run.wait) as client:
        counts = pull(client, run, concurrency=THREADS)
    seconds = time.perf_counter() - started
    with connection():
        assert stored() - before == counts["acknowledged"] == orders, counts
    return seconds


def stored() -> int:
    return int(rows("SELECT count(*) AS n FROM orders")[0].n)


def timed_loop(url: str, orders: int) -> float:
    """The seconds that the same calls take without storing anything."""
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        loop = _Loop(url, pool)
        while loop.walk():
            pass
    seconds = time.perf_counter() - started
    assert loop.acknowledged == orders
    return seconds


class _Loop:
    """What anyone would write: pages, their items, and the acknowledgements."""

    def __init__(self, url: str, pool: ThreadPoolExecutor) -> None:
        self.acknowledged = 0
        self._url = url
        self._pool = pool
        self._local = threading.local()

    def walk(self) -> int:
        page, has_next, before = 1, True, self.acknowledged
        while has_next:
            asked = {"status": "400", "is_send": "false", "limit": PAGE, "page": page}
            found = self.session.get(f"{self._url}/api/i1/orders/", params=asked, timeout=10).json()
            keys = [order["pk"] for order in found["results"]]
            list(self._pool.map(self.items, keys))
            self.acknowledged += len(list(self._pool.map(self.acknowledge, keys)))
            page, has_next = page + 1, found["next"] is not None
        return self.acknowledged - before

    def items(self, key: int) -> object:
        asked = {"order": key, "limit": PAGE, "page": 1}
        return self.session.get(f"{self._url}/api/v1/order_items/", params=asked, timeout=10).json()

    def acknowledge(self, key: int) -> object:
        path = f"{self._url}/api/v1/orders/{key}/"
        return self.session.patch(path, json={"is_send": True}, timeout=10).json()

    @property
    def session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["Authorization"] = f"Token {TOKEN}"
        session: requests.Session = self._local.session
        return session


@contextmanager
def a_hub(milliseconds: float) -> Iterator[str]:
    """The address of a hub in a process of its own, whose cores nobody else in this process needs."""
    command = [sys.executable, "-m", "benchmarks.hub", "--milliseconds", str(milliseconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
