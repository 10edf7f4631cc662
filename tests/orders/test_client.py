"""The client against a hub that misbehaves."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from oms_workers.orders import client as module
from oms_workers.orders import transport
from oms_workers.orders.client import ATTEMPTS, Omnitron, OmnitronError, OmnitronRefusedError
from settings import SettingsError
from tests.orders import hub as faults
from tests.orders.hub import PASSWORD, TOKEN, Hub
from tests.orders.samples import an_order

ORDERS = "/api/i1/orders/"
Connect = Callable[..., Omnitron]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients, and end their connections after the test."""
    with ExitStack() as clients:
        yield lambda *arguments: clients.enter_context(Omnitron(*arguments))


@pytest.mark.parametrize(
    "fault",
    [faults.drop, faults.half_a_body, *(faults.status(code) for code in (429, 502, 503, 504))],
    ids=["drop", "half a body", "429", "502", "503", "504"],
)
def test_what_passes_by_itself_is_tried_again(hub: Hub, client: Omnitron, fault: Any) -> None:
    hub.add(an_order(1))
    hub.fail(ORDERS, fault, times=ATTEMPTS - 1)

    assert [order["pk"] for order in client.orders(1).results] == [1]


def test_it_does_not_try_for_ever(hub: Hub, client: Omnitron, pauses: list[float]) -> None:
    hub.fail(ORDERS, faults.drop, times=100)

    with pytest.raises(
        OmnitronError, match=r"GET /api/i1/orders/ got no answer from OMNITRON_URL=.*, 5 times"
    ):
        client.orders(1)

    assert len(hub.calls) == ATTEMPTS
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (faults.html, "what is no JSON: '<html>"),
        (faults.status(500), "answered 500"),
        (faults.status(406), "answered 406"),
        (faults.body("[]"), "without a list of results"),
        (faults.body('{"results": null}'), "without a list of results"),
        (faults.body("[" * 100_000), "what is no JSON"),
        (faults.body(""), "what is no JSON"),
    ],
)
def test_what_does_not_pass_is_an_error_that_names_the_call(
    hub: Hub, client: Omnitron, fault: Any, problem: str
) -> None:
    hub.fail(ORDERS, fault)

    with pytest.raises(OmnitronError, match="GET /api/i1/orders/") as error:
        client.orders(1)

    assert problem in str(error.value)
    assert len(hub.calls) == 1


def test_it_heeds_retry_after_in_seconds(hub: Hub, client: Omnitron, pauses: list[float]) -> None:
    hub.fail(ORDERS, faults.status(429, Retry_After="17"))

    client.orders(1)

    assert pauses[0] == 17


def test_it_heeds_retry_after_as_a_date(hub: Hub, client: Omnitron, pauses: list[float]) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    hub.fail(ORDERS, faults.status(503, Retry_After=then))

    client.orders(1)

    assert 20 < pauses[0] <= 30


def test_a_429_slows_down_every_call(hub: Hub, client: Omnitron, pauses: list[float]) -> None:
    hub.fail(ORDERS, faults.status(429, Retry_After="17"))
    client.orders(1)
    pauses.clear()

    client.items(1)

    assert 10 < pauses[0] <= 17


def test_without_time_to_wait_it_says_so(hub: Hub, configure: Callable[..., Any], connect: Connect) -> None:
    impatient = connect(configure(OMNITRON_URL=hub.url, OMNITRON_TOKEN=TOKEN), lambda seconds: seconds == 0)
    hub.fail(ORDERS, faults.status(429, Retry_After="3600"))

    with pytest.raises(OmnitronError, match="answered 429; no time is left to wait 3600 s"):
        impatient.orders(1)


def test_wrong_credentials_are_said_once_and_never_shown(
    hub: Hub, configure: Callable[..., Any], connect: Connect
) -> None:
    wrong = connect(configure(OMNITRON_URL=hub.url, OMNITRON_TOKEN="wrong-hush"), lambda seconds: True)

    for _ in range(3):
        with pytest.raises(OmnitronRefusedError, match="set OMNITRON_TOKEN") as error:
            wrong.orders(1)
        assert "hush" not in str(error.value) + repr(wrong)

    assert len(hub.calls) == 1


def test_a_user_name_logs_in_once(hub: Hub, configure: Callable[..., Any], connect: Connect) -> None:
    configuration = configure(OMNITRON_URL=hub.url, OMNITRON_USERNAME="oms", OMNITRON_PASSWORD=PASSWORD)
    client = connect(configuration, lambda seconds: True)

    client.orders(1)
    client.items(1)

    assert [method for method, _, _ in hub.calls] == ["POST", "GET", "GET"]


def test_a_wrong_password_is_said_once_and_never_shown(
    hub: Hub, configure: Callable[..., Any], connect: Connect
) -> None:
    configuration = configure(OMNITRON_URL=hub.url, OMNITRON_USERNAME="oms", OMNITRON_PASSWORD="old-hush")
    client = connect(configuration, lambda seconds: True)

    for _ in range(2):
        with pytest.raises(OmnitronRefusedError, match="OMNITRON_USERNAME and OMNITRON_PASSWORD") as error:
            client.orders(1)
        assert "hush" not in str(error.value)

    assert len(hub.calls) == 1


def test_without_an_address_it_says_what_to_set(configure: Callable[..., Any], connect: Connect) -> None:
    with pytest.raises(SettingsError, match="OMNITRON_URL: is not set"):
        connect(configure(), lambda seconds: True)


def test_a_wrong_address_is_not_taken_for_an_empty_hub(hub: Hub, configure: Callable[..., Any]) -> None:
    elsewhere = Omnitron(
        configure(OMNITRON_URL=f"{hub.url}/shop", OMNITRON_TOKEN=TOKEN), lambda seconds: True
    )

    with pytest.raises(OmnitronError, match="GET /api/i1/orders/ answered 404"):
        elsewhere.orders(1)


def test_a_403_about_one_order_says_nothing_about_the_credentials(hub: Hub, client: Omnitron) -> None:
    hub.fail("/api/v1/orders/7/", faults.status(403))

    with pytest.raises(OmnitronError, match="PATCH /api/v1/orders/7/ answered 403") as error:
        client.acknowledge(7)

    assert not isinstance(error.value, OmnitronRefusedError)
    client.acknowledge(8)


def test_items_without_end_are_an_error(hub: Hub, client: Omnitron, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITEM_PAGES", 3)
    hub.fail("/api/v1/order_items/", faults.body('{"results": [{"pk": 11}], "next": "more"}'), times=100)

    with pytest.raises(OmnitronError, match="of order 7 has no end after 3 pages"):
        client.items(7)


def test_nothing_is_sent_any_more_when_the_run_has_to_stop(
    hub: Hub, configure: Callable[..., Any], connect: Connect
) -> None:
    stopped = connect(configure(OMNITRON_URL=hub.url, OMNITRON_TOKEN=TOKEN), lambda seconds: False)

    with pytest.raises(OmnitronError, match="was not sent: the run has to stop"):
        stopped.items(7)

    assert hub.calls == []


def test_a_token_with_a_line_s_end_is_the_token(
    hub: Hub, configure: Callable[..., Any], connect: Connect
) -> None:
    client = connect(configure(OMNITRON_URL=hub.url, OMNITRON_TOKEN=f"{TOKEN}\n"), lambda seconds: True)

    assert client.orders(1).results == []


def test_a_page_that_is_gone_is_empty(hub: Hub, client: Omnitron) -> None:
    page = client.orders(7)

    assert (page.results, page.has_next) == ([], False)


def test_items_come_from_all_their_pages(hub: Hub, client: Omnitron) -> None:
    hub.add(an_order(1, skus=("CRUNCHY-ARMCHAIR",) * 25))

    assert len(client.items(1)) == 25
    assert [parameters["page"] for parameters in hub.calls_to("/api/v1/order_items/")] == ["1", "2", "3"]


def test_a_body_without_end_is_cut(hub: Hub, client: Omnitron, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1_000)
    hub.fail(ORDERS, faults.body('{"results": ["' + "x" * 10_000 + '"]}'), times=ATTEMPTS)

    with pytest.raises(OmnitronError, match="answered with more than 1000 bytes"):
        client.orders(1)


def test_a_netrc_does_not_replace_the_token(
    hub: Hub, client: Omnitron, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else")
    monkeypatch.setenv("NETRC", str(netrc))

    assert client.orders(1).results == []


def test_an_address_where_nobody_is_says_which_and_why(
    configure: Callable[..., Any], connect: Connect
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = connect(configure(OMNITRON_URL=url, OMNITRON_TOKEN=TOKEN), lambda seconds: True)

    with pytest.raises(OmnitronError, match=f"OMNITRON_URL={url}: .*Connection refused"):
        client.orders(1)


def test_an_address_that_has_moved_says_where_to(hub: Hub, client: Omnitron) -> None:
    hub.fail(ORDERS, faults.status(301, Location="https://elsewhere.example.com/"))

    with pytest.raises(OmnitronError, match=r"has moved to 'https://elsewhere\.example\.com/'"):
        client.orders(1)


@pytest.mark.parametrize("status", [429, 503])
def test_a_login_that_is_throttled_is_tried_again(
    hub: Hub, configure: Callable[..., Any], connect: Connect, status: int
) -> None:
    configuration = configure(OMNITRON_URL=hub.url, OMNITRON_USERNAME="oms", OMNITRON_PASSWORD=PASSWORD)
    hub.fail("/auth/login/", faults.status(status), times=2)

    assert connect(configuration, lambda seconds: True).orders(1).results == []


def test_a_body_that_drips_is_given_up(hub: Hub, client: Omnitron, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TOTAL_TIMEOUT_SECONDS", 0.2)
    hub.fail(ORDERS, faults.drip, times=ATTEMPTS)

    started = time.monotonic()
    with pytest.raises(OmnitronError, match="not whole within"):
        client.orders(1)
    assert time.monotonic() - started < 10


def test_an_item_that_goes_while_its_list_is_read_costs_no_other(hub: Hub, client: Omnitron) -> None:
    hub.add(an_order(1, skus=("CRUNCHY-ARMCHAIR",) * 15))

    def answer_and_lose_the_first(handler: Any) -> None:
        handler.page(hub.items[1], {"limit": "10", "page": "1"})
        hub.items[1] = hub.items[1][1:]

    hub.fail("/api/v1/order_items/", answer_and_lose_the_first)

    assert [item["pk"] for item in client.items(1)] == [*range(102, 116)]


def test_an_item_that_comes_while_its_list_is_read_is_not_missed(hub: Hub, client: Omnitron) -> None:
    hub.add(an_order(1, skus=("CRUNCHY-ARMCHAIR",) * 15))

    def answer_and_add_one(handler: Any) -> None:
        handler.page(hub.items[1], {"limit": "10", "page": "1"})
        hub.items[1] = [{**hub.items[1][0], "pk": 100}, *hub.items[1]]

    hub.fail("/api/v1/order_items/", answer_and_add_one)

    assert [item["pk"] for item in client.items(1)] == [*range(100, 116)]


def test_a_last_page_that_is_gone_lets_the_items_be_read_again(hub: Hub, client: Omnitron) -> None:
    hub.add(an_order(1, skus=("CRUNCHY-ARMCHAIR",) * 11))

    def answer_and_lose_the_first(handler: Any) -> None:
        handler.page(hub.items[1], {"limit": "10", "page": "1"})
        hub.items[1] = hub.items[1][1:]

    hub.fail("/api/v1/order_items/", answer_and_lose_the_first)

    assert len(client.items(1)) == 10


@pytest.mark.parametrize("count", [0, 2, 99])
def test_items_that_are_not_as_many_as_is_said_are_an_error(hub: Hub, client: Omnitron, count: int) -> None:
    answer = f'{{"results": [{{"pk": 11}}], "next": null, "count": {count}}}'
    hub.fail("/api/v1/order_items/", faults.body(answer), times=100)

    with pytest.raises(OmnitronError, match="of order 7 changed while it was read, 3 times"):
        client.items(7)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("\ufeff" + '{"results": [{"notes": "ığş"}]}', "application/json"),
        ('{"results": [{"notes": "ığş"}]}', "application/json; charset=utf-8"),
        ('{"results": [{"notes": "ığş"}]}', "application/json; charset=iso-8859-9"),
        ('{"results": [{"notes": "ığş"}]}', "application/json; charset=unheard-of"),
    ],
)
def test_text_in_utf_8_is_read_whatever_the_header_says(
    hub: Hub, client: Omnitron, body: str, kind: str
) -> None:
    hub.fail("/api/i1/orders/", lambda handler: handler.raw(200, body.encode(), kind))

    assert client.orders(1).results == [{"notes": "ığş"}]


@pytest.mark.parametrize("charset", ["iso-8859-9", '"ISO-8859-9"', "windows-1254", "utf-16"])
def test_text_that_is_not_utf_8_is_read_as_the_header_says(hub: Hub, client: Omnitron, charset: str) -> None:
    content = '{"results": [{"notes": "ığş"}]}'.encode(charset.strip('"'))
    kind = f"application/json; charset={charset}"
    hub.fail("/api/i1/orders/", lambda handler: handler.raw(200, content, kind))

    assert client.orders(1).results == [{"notes": "ığş"}]


def test_a_body_that_is_too_large_is_asked_for_once(
    hub: Hub, client: Omnitron, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1_000)
    hub.fail("/api/i1/orders/", faults.body('{"results": ["' + "x" * 10_000 + '"]}'), times=ATTEMPTS)

    with pytest.raises(OmnitronError, match="more than 1000 bytes"):
        client.orders(1)

    assert len(hub.calls) == 1


def test_an_order_is_read_by_its_key(hub: Hub, client: Omnitron) -> None:
    hub.add(an_order(1))

    assert client.order(1) == {**an_order(1)[0], "is_send": False}
    assert client.order(2) is None


def test_a_404_that_is_not_omnitron_s_own_says_nothing_of_an_order(hub: Hub, client: Omnitron) -> None:
    hub.fail("/orders_integration/", lambda handler: handler.raw(404, b"<h1>Not Found</h1>", "text/html"))

    with pytest.raises(OmnitronError, match="answered 404"):
        client.order(1)
