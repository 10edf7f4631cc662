"""The stand-in speaks as the hub does, and fails when it is asked to."""

from collections import Counter
from typing import Any

import pytest
from flask.testing import FlaskClient

from oms_workers.sandbox import omnitron
from oms_workers.sandbox.omnitron import BROKEN_EVERY, TOKEN, Hub, example_skus, make_app

ORDERS = "/api/i1/orders/?status=400&is_send=false"
HEADERS = {"Authorization": f"Token {TOKEN}"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub in whose life a hundred and twenty orders have been placed."""
    hub = Hub(example_skus(), orders_per_second=1)
    now = hub._started + 120.5
    monkeypatch.setattr(omnitron.time, "monotonic", lambda: now)
    return hub


@pytest.fixture
def client(hub: Hub) -> FlaskClient:
    return make_app(hub).test_client()


def get(client: FlaskClient, path: str) -> Any:
    response = client.get(path, headers=HEADERS)
    assert response.status_code == 200, response.text
    return response.get_json()


def test_orders_come_in_pages_of_ten_unless_asked_otherwise(client: FlaskClient) -> None:
    first = get(client, ORDERS)
    last = get(client, f"{ORDERS}&limit=100&page=2")

    assert (first["count"], len(first["results"]), first["previous"]) == (120, 10, None)
    assert "page=2" in first["next"]
    assert (len(last["results"]), last["next"]) == (20, None)


def test_an_acknowledged_order_leaves_the_list(client: FlaskClient) -> None:
    order = get(client, ORDERS)["results"][0]["pk"]

    changed = client.patch(f"/api/v1/orders/{order}/", json={"is_send": True}, headers=HEADERS)

    assert changed.get_json()["is_send"] is True
    assert get(client, ORDERS)["count"] == 119


def test_only_what_omnitron_lets_change_can_be_changed(client: FlaskClient) -> None:
    order = get(client, ORDERS)["results"][0]["pk"]

    refused = client.patch(f"/api/v1/orders/{order}/", json={"number": "7"}, headers=HEADERS)

    assert refused.status_code == 400


def test_a_few_orders_are_broken_on_purpose(client: FlaskClient) -> None:
    items = [
        get(client, f"/api/v1/order_items/?order={order['pk']}")["results"]
        for order in get(client, f"{ORDERS}&limit=1000")["results"]
    ]

    assert sum(not lines for lines in items) == 120 // BROKEN_EVERY
    assert sum("sku" not in line["product"] for lines in items for line in lines) == 120 // BROKEN_EVERY


def test_demand_has_a_long_tail(client: FlaskClient, hub: Hub) -> None:
    demand = Counter(
        line["product"].get("sku") for order in hub.orders("400", "false") for line in hub.items(order["pk"])
    )

    ranked = example_skus()
    assert demand[ranked[0]] > 5 * demand[ranked[-1]]
    assert len(demand) > 20


def test_everything_about_one_order(client: FlaskClient) -> None:
    order = get(client, ORDERS)["results"][0]["pk"]

    detailed = get(client, f"/api/i1/orders_integration/{order}/detailed_integration/")

    assert detailed["pk"] == order
    assert detailed["orderitem_set"]


def test_without_the_token_it_refuses(client: FlaskClient) -> None:
    assert client.get(ORDERS).status_code == 401
    assert client.get(ORDERS, headers={"Authorization": "Token other"}).status_code == 401


def test_logging_in_gives_the_token(client: FlaskClient) -> None:
    good = client.post("/api/v1/auth/login/", json={"username": "oms", "password": TOKEN})
    bad = client.post("/api/v1/auth/login/", json={"username": "oms", "password": "x"})

    assert good.get_json() == {"key": TOKEN}
    assert bad.status_code == 400


def test_faults_happen_as_often_as_they_were_asked_for(client: FlaskClient) -> None:
    client.post("/sandbox/faults", json={"status": 429, "times": 2, "retry_after": 3})

    answers = [client.get(ORDERS, headers=HEADERS) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"
