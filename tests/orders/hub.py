"""A hub over real HTTP that misbehaves when told to, and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "0a1b2c3d-hush"
PASSWORD = "open-sesame-hush"


@dataclass
class Fault:
    """What a call whose path holds `path` does, `times` times, instead of answering well."""

    path: str
    do: Callable[["Handler"], None]
    times: int = 1


@dataclass
class Hub:
    """Orders and items as a merchant's Omnitron has them."""

    orders: dict[int, Any] = field(default_factory=dict)
    items: dict[int, list[Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    before_acknowledge: Callable[[int], None] = lambda key: None
    url: str = ""
    #: The token that is accepted, and that a login gives.
    token: str = TOKEN
    #: Whether its list heeds the status that is asked for.
    heeds_status: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, *samples: tuple[dict[str, Any], list[Any]]) -> None:
        for order, items in samples:
            self.orders[order["pk"]] = order
            self.items[order["pk"]] = items

    def fail(self, path: str, do: Callable[["Handler"], None], times: int = 1) -> None:
        self.faults.append(Fault(path, do, times))

    def fault_for(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.path in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def calls_to(self, path: str) -> list[dict[str, str]]:
        """The parameters of each call to a path."""
        return [parameters for _, called, parameters in self.calls if called == path]

    def waiting(self) -> list[Any]:
        with self.lock:
            offered = [order for key, order in self.orders.items() if key not in self.acknowledged]
        return [order for order in offered if not self.heeds_status or self.is_approved(order)]

    def is_approved(self, order: Any) -> bool:
        return not isinstance(order, dict) or order.get("status", "400") == "400"

    def change(self, key: int, **fields: Any) -> None:
        """Change an order, as people do in the hub."""
        with self.lock:
            self.orders[key] = {**self.orders[key], **fields}

    def whole(self, key: int) -> dict[str, Any]:
        """An order as it is, with whether it was acknowledged."""
        with self.lock:
            order = self.orders.get(key)
            return {
                **(order if isinstance(order, dict) else {"pk": key}),
                "is_send": key in self.acknowledged,
            }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self.serve(self.get)

    def do_PATCH(self) -> None:
        self.serve(self.patch)

    def do_POST(self) -> None:
        self.serve(self.post)

    def serve(self, answer: Callable[[str, dict[str, str]], None]) -> None:
        parts = urlsplit(self.path)
        parameters = dict(parse_qsl(parts.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.hub.lock:
            self.hub.calls.append((self.command, parts.path, parameters))
        fault = self.hub.fault_for(self.path)
        if fault is not None:
            fault.do(self)
        elif "auth" not in parts.path and self.headers.get("Authorization") != f"Token {self.hub.token}":
            self.answer(401, {"detail": f"Invalid token {self.headers.get('Authorization')}."})
        else:
            answer(parts.path, parameters)

    def get(self, path: str, parameters: dict[str, str]) -> None:
        if path == "/api/i1/orders/":
            assert (parameters["status"], parameters["is_send"]) == ("400", "false")
            self.page(self.hub.waiting(), parameters)
        elif path == "/api/v1/order_items/":
            self.page(self.hub.items.get(int(parameters["order"]), []), parameters)
        elif "/orders_integration/" in path and int(path.split("/")[4]) in self.hub.orders:
            key = int(path.split("/")[4])
            self.answer(200, {**self.hub.whole(key), "orderitem_set": self.hub.items.get(key, [])})
        else:
            self.answer(404, {"detail": "Not found."})

    def patch(self, path: str, parameters: dict[str, str]) -> None:
        key = int(path.rstrip("/").rpartition("/")[2])
        assert json.loads(self.body) == {"is_send": True}
        self.hub.before_acknowledge(key)
        with self.hub.lock:
            self.hub.acknowledged.append(key)
        self.answer(200, self.hub.whole(key))

    def post(self, path: str, parameters: dict[str, str]) -> None:
        if json.loads(self.body).get("password") == PASSWORD:
            self.answer(200, {"key": self.hub.token})
        else:
            self.answer(400, {"detail": "Unable to log in with provided credentials."})

    def page(self, found: list[Any], parameters: dict[str, str]) -> None:
        limit, page = int(parameters["limit"]), int(parameters["page"])
        start = (page - 1) * limit
        if page > 1 and start >= len(found):
            self.answer(404, {"detail": "Invalid page."})
            return
        following = f"{self.hub.url}?page={page + 1}" if start + limit < len(found) else None
        results = found[start : start + limit]
        self.answer(200, {"count": len(found), "next": following, "previous": None, "results": results})

    def answer(self, status: int, body: Any, **headers: str) -> None:
        self.raw(status, json.dumps(body).encode(), "application/json", **headers)

    def raw(self, status: int, body: bytes, kind: str, *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: the hub's own list of calls is what tests read."""


def drop(handler: Handler) -> None:
    """End the connection without a word."""
    handler.close_connection = True
    handler.connection.close()


def half_a_body(handler: Handler) -> None:
    handler.raw(200, b'{"count": 3, "results": [{"pk"', "application/json", length=4_000)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """A byte now and then, each before the client loses patience with the one before it."""
    handler.raw(200, b"", "application/json", length=100_000)
    handler.close_connection = True
    with suppress(OSError):
        for _ in range(200):
            handler.wfile.write(b" ")
            time.sleep(0.05)


def html(handler: Handler) -> None:
    handler.raw(200, b"<html><h1>Scheduled maintenance</h1></html>", "text/html")


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(code, {"detail": "by request", "code": "sandbox"}, **headers)


def body(text: str) -> Callable[[Handler], None]:
    return lambda handler: handler.raw(200, text.encode(), "application/json")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that is dropped on purpose is no news."""


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub behind an address on loopback."""
    server = _Server(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
