"""A stand-in Omnitron: it speaks the calls that we make, and its customers never stop ordering.

    python -m oms_workers.sandbox.omnitron --port 8765 --orders-per-second 3

Demand over the skus of `examples/stock.json` has a long tail, and a few orders are broken on purpose.
`POST /sandbox/faults` with `{"status": 429, "times": 3, "retry_after": 2}` makes the next calls fail so.
"""

import argparse
import json
import random
import threading
import time
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request

import settings

TOKEN = "sandbox"  # noqa: S105 - of a server that listens on loopback only

#: One order in so many has no items, and one in as many has an item without a sku.
BROKEN_EVERY = 40

DEFAULT_LIMIT = 10
CHANNELS = ("web", "web", "mobile", "marketplace")
CITIES = (
    {"city": "Istanbul", "country": "TR", "latitude": 41.01, "longitude": 28.97},
    {"city": "Ankara", "country": "TR", "latitude": 39.93, "longitude": 32.86},
    {"city": "Izmir", "country": "TR", "latitude": 38.42, "longitude": 27.14},
)
APPROVED = "400"


class Hub:
    """The orders of the stand-in, made up as time goes by; safe for the server's threads."""

    def __init__(self, skus: list[str], *, orders_per_second: float, seed: int = 1) -> None:
        self.faults: list[dict[str, Any]] = []
        self._skus = skus
        self._weights = [*accumulate(1 / rank for rank in range(1, len(skus) + 1))]
        self._rate = orders_per_second
        self._started = time.monotonic()
        # A key is never used again after a restart, so that orders of two sandboxes do not meet.
        self._base = int(time.time()) * 100
        self._random = random.Random(seed)
        self._orders: dict[int, dict[str, Any]] = {}
        self._items: dict[int, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def orders(self, status: str | None, is_send: str | None) -> list[dict[str, Any]]:
        """The orders that match, the oldest first."""
        with self._lock:
            self._catch_up()
            return [
                order
                for order in self._orders.values()
                if status in (None, order["status"]) and is_send in (None, str(order["is_send"]).lower())
            ]

    def items(self, order: int) -> list[dict[str, Any]]:
        with self._lock:
            return self._items.get(order, [])

    def order(self, key: int) -> dict[str, Any] | None:
        with self._lock:
            return self._orders.get(key)

    def item(self, key: int) -> dict[str, Any] | None:
        with self._lock:
            return next((item for items in self._items.values() for item in items if item["pk"] == key), None)

    def _catch_up(self) -> None:
        """Make the orders that customers have placed since somebody last asked."""
        due = int((time.monotonic() - self._started) * self._rate)
        while len(self._orders) < due:
            self._place(self._base + len(self._orders) + 1)

    def _place(self, key: int) -> None:
        now = datetime.now(UTC).isoformat()
        number = len(self._orders) + 1
        lines = self._random.choices((1, 2, 3, 4), weights=(60, 25, 10, 5))[0]
        skus = self._random.choices(self._skus, cum_weights=self._weights, k=lines)
        items = [self._item_of(key, position, sku) for position, sku in enumerate(skus, start=1)]
        if number % BROKEN_EVERY == BROKEN_EVERY - 1:
            items = []
        elif number % BROKEN_EVERY == 0:
            items[0]["product"] = {"name": "a product whose sku was lost"}
        self._items[key] = items
        self._orders[key] = {
            "pk": key,
            "number": str(key),
            "status": APPROVED,
            "is_send": False,
            "channel": self._random.choice(CHANNELS),
            "currency": "try",
            "amount": f"{100 * lines}.00",
            "shipping_amount": "0.00",
            "discount_amount": "0.00",
            "shipping_address": self._random.choice(CITIES),
            "client_type": "default",
            "extra_field": {"sandbox": True},
            "date_placed": now,
            "created_date": now,
            "modified_date": now,
        }

    def _item_of(self, order: int, position: int, sku: str) -> dict[str, Any]:
        return {
            "pk": order * 10 + position,
            "order": order,
            "product": {"pk": self._skus.index(sku) + 1, "sku": sku, "name": sku.title()},
            "status": APPROVED,
            "price": "100.00",
            "price_currency": "try",
            "retail_price": "120.00",
            "tax_rate": "20.00",
            "discount_amount": "0.00",
        }


def make_app(hub: Hub, *, token: str = TOKEN) -> Flask:
    """The HTTP interface of a hub."""
    app = Flask(__name__)
    _add_access(app, hub, token)
    _add_orders(app, hub)
    return app


def _add_access(app: Flask, hub: Hub, token: str) -> None:
    @app.before_request
    def refuse() -> Any:
        if request.path.startswith("/sandbox/"):
            return None
        if hub.faults:
            return _fault(hub)
        if request.path != "/api/v1/auth/login/" and request.headers.get("Authorization") != f"Token {token}":
            return _error(401, "Invalid token.", "authentication_failed")
        return None

    @app.post("/sandbox/faults")
    def add_fault() -> Any:
        hub.faults.append({"times": 1, **request.get_json()})
        return jsonify(hub.faults)

    @app.post("/api/v1/auth/login/")
    def log_in() -> Any:
        if request.get_json().get("password") != token:
            return _error(400, "Unable to log in with provided credentials.", "invalid")
        return jsonify(key=token)


def _add_orders(app: Flask, hub: Hub) -> None:
    @app.get("/api/i1/orders/")
    def orders() -> Any:
        return _page(hub.orders(request.args.get("status"), request.args.get("is_send")))

    @app.get("/api/v1/order_items/")
    def order_items() -> Any:
        return _page(hub.items(request.args.get("order", 0, type=int)))

    @app.get("/api/i1/orders_integration/<int:key>/detailed_integration/")
    def detailed(key: int) -> Any:
        order = hub.order(key)
        return jsonify({**order, "orderitem_set": hub.items(key)}) if order else _error(404, "Not found.")

    @app.patch("/api/v1/orders/<int:key>/")
    def change_order(key: int) -> Any:
        return _change(hub.order(key), ("is_send",))

    @app.patch("/api/v1/order_items/<int:key>/")
    def change_item(key: int) -> Any:
        allowed = ("status", "tracking_number", "carrier_shipping_code", "invoice_number", "extra_field")
        return _change(hub.item(key), (*allowed, "cancel_status"))


def _fault(hub: Hub) -> Any:
    fault = hub.faults[0]
    fault["times"] -= 1
    if fault["times"] <= 0:
        hub.faults.pop(0)
    response = _error(fault.get("status", 500), "A fault was asked for.", "sandbox")
    if "retry_after" in fault:
        response.headers["Retry-After"] = str(fault["retry_after"])
    return response


def _error(status: int, detail: str, code: str = "not_found") -> Response:
    response = jsonify(detail=detail, code=code)
    response.status_code = status
    return response


def _page(found: list[dict[str, Any]]) -> Any:
    limit = request.args.get("limit", DEFAULT_LIMIT, type=int)
    page = request.args.get("page", 1, type=int)
    start = (page - 1) * limit
    if page > 1 and start >= len(found):
        return _error(404, "Invalid page.")
    following = f"{request.base_url}?limit={limit}&page={page + 1}" if start + limit < len(found) else None
    previous = f"{request.base_url}?limit={limit}&page={page - 1}" if page > 1 else None
    results = found[start : start + limit]
    return jsonify(count=len(found), next=following, previous=previous, results=results)


def _change(row: dict[str, Any] | None, allowed: tuple[str, ...]) -> Any:
    if row is None:
        return _error(404, "Not found.")
    changes = request.get_json()
    unknown = sorted(set(changes) - set(allowed))
    if unknown:
        return _error(400, f"{unknown[0]} cannot be changed here.", "invalid")
    row.update(changes)
    return jsonify(row)


def example_skus() -> list[str]:
    """The skus of the examples, in the order in which they are in demand."""
    path = Path(settings.__file__).parent / "examples" / "stock.json"
    return list(dict.fromkeys(row["sku"] for row in json.loads(path.read_text())["stock"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in Omnitron on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--orders-per-second", type=float, default=3.0)
    arguments = parser.parse_args()
    hub = Hub(example_skus(), orders_per_second=arguments.orders_per_second)
    make_app(hub).run(host="127.0.0.1", port=arguments.port, threaded=True)


if __name__ == "__main__":
    main()
