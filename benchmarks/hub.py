"""A hub on loopback, in a process of its own, that takes a given time for each answer.

    python -m benchmarks.hub --milliseconds 50

It prints its port. `POST /reset` with `{"first": 1, "count": 1000}` makes it offer other orders, and answers
how many calls there were since the last one.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NOW = "2026-11-25T12:00:00Z"


def an_order(key: int) -> dict[str, Any]:
    """An order of some two kilobytes, as hubs send them."""
    return {
        "pk": key,
        "number": str(key),
        "status": "400",
        "is_send": False,
        "channel": "web",
        "currency": "try",
        "amount": "286.10",
        "shipping_address": {"pk": key, "city": "Istanbul", "country": "TR", "line": "x" * 400},
        "billing_address": {"pk": key, "city": "Istanbul", "country": "TR", "line": "x" * 400},
        "extra_field": {"note": "x" * 600},
        "date_placed": NOW,
        "created_date": NOW,
        "modified_date": NOW,
    }


def its_items(key: int) -> list[dict[str, Any]]:
    """One to four lines."""
    return [
        {
            "pk": key * 10 + line,
            "order": key,
            "product": {"pk": line, "sku": f"SKU-{(key + line) % 500}", "name": "x" * 40},
            "status": "400",
            "price": "100.00",
            "attributes": {"note": "x" * 200},
        }
        for line in range(1, 2 + key % 4)
    ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    offered: dict[int, dict[str, Any]] = {}  # noqa: RUF012 - one server has one list
    lock = threading.Lock()
    seconds = 0.0
    calls = 0

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = dict(parse_qsl(parts.query))
        if parts.path == "/api/i1/orders/":
            with self.lock:
                found = [*self.offered.values()]
            self.page(found, int(asked["limit"]), int(asked["page"]))
        else:
            self.page(its_items(int(asked["order"])), int(asked["limit"]), int(asked["page"]))

    def do_PATCH(self) -> None:
        self.read()
        with self.lock:
            order = self.offered.pop(int(self.path.split("/")[4]))
        self.answer({**order, "is_send": True})

    def do_POST(self) -> None:
        asked = self.read()
        keys = range(asked["first"], asked["first"] + asked["count"])
        with self.lock:
            Handler.offered = {key: an_order(key) for key in keys}
            calls, Handler.calls = Handler.calls, 0
        self.answer({"calls": calls})

    def read(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def page(self, found: list[Any], limit: int, page: int) -> None:
        start = (page - 1) * limit
        following = "more" if start + limit < len(found) else None
        self.answer({"count": len(found), "next": following, "results": found[start : start + limit]})

    def answer(self, body: Any) -> None:
        with self.lock:
            Handler.calls += 1
        time.sleep(self.seconds)
        content = json.dumps(body).encode()
        # One write: a second one would wait for the first one's acknowledgement.
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        self.wfile.write(head.encode() + content)

    def log_message(self, *args: Any) -> None:
        """Nothing: the figures are what is printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A hub for the benchmark of the intake.")
    parser.add_argument("--milliseconds", type=float, default=0)
    Handler.seconds = parser.parse_args().milliseconds / 1000
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
