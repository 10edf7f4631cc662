"""One login for all processes, kept in Redis for a while, renewed once, and never shown."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from oms_workers.broker import current
from oms_workers.database import database_now
from oms_workers.orders import credentials as module
from oms_workers.orders.client import Omnitron, OmnitronError, OmnitronRefusedError
from oms_workers.orders.tasks import get_orders_from_omnitron
from oms_workers.scheduling.run import WAITS_FOR, Run
from tests.orders import hub as faults
from tests.orders.hub import PASSWORD, TOKEN, Hub
from tests.orders.samples import an_order

LOGIN, ORDERS = "/api/v1/auth/login/", "/api/i1/orders/"


@pytest.fixture
def connect(hub: Hub, configure: Callable[..., Any]) -> Iterator[Callable[[], Omnitron]]:
    """Make clients with a user name, as processes of their own would have."""
    current().client.flushdb()
    configuration = configure(OMNITRON_URL=hub.url, OMNITRON_USERNAME="oms", OMNITRON_PASSWORD=PASSWORD)
    with ExitStack() as clients:
        yield lambda: clients.enter_context(Omnitron(configuration, give_way))
    current().client.flushdb()


def give_way(seconds: float) -> bool:
    """Wait for nothing, but let others at the connections to Redis, which are fewer than the clients."""
    time.sleep(0.001 if seconds else 0)
    return True


def logins(hub: Hub) -> int:
    return len(hub.calls_to(LOGIN))


def keys() -> list[bytes]:
    return [*current().client.scan_iter("oms:omnitron:*")]


def test_one_login_serves_all_clients(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    for _ in range(3):
        connect().orders(1)

    assert logins(hub) == 1


def test_clients_that_begin_at_once_log_in_once(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    clients = [connect() for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        pages = [*pool.map(lambda client: client.orders(1), clients)]

    assert len(pages) == 8
    assert logins(hub) == 1


def test_a_token_that_ends_midway_is_renewed_once(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    client, other = connect(), connect()
    client.orders(1)
    other.orders(1)

    hub.token = "another-hush"
    client.orders(1)
    other.orders(1)

    assert logins(hub) == 2
    assert client.orders(1).results == []


def test_threads_whose_token_ends_together_log_in_once(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    client = connect()
    client.orders(1)
    hub.token = "another-hush"

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(client.items, range(1, 17))] == [[]] * 16

    assert logins(hub) == 2


def test_a_new_token_that_is_refused_is_the_end(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    hub.fail(ORDERS, faults.status(401), times=100)
    client = connect()

    for _ in range(3):
        with pytest.raises(OmnitronRefusedError, match="OMNITRON_PASSWORD"):
            client.orders(1)

    assert (logins(hub), len(hub.calls_to(ORDERS))) == (2, 2)
    assert keys() == []


def test_the_token_has_an_expiry_and_no_key_shows_a_secret(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    connect().orders(1)

    (key,) = keys()
    assert 0 < current().client.ttl(key) <= module.SHARED_SECONDS
    assert b"hush" not in key
    assert b"oms:omnitron:" in key


def test_nothing_that_is_logged_or_shown_has_the_token(
    hub: Hub, connect: Callable[[], Omnitron], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = connect()
    client.orders(1)
    hub.token = "another-hush"
    hub.fail(ORDERS, faults.status(401), times=2)
    with pytest.raises(OmnitronRefusedError) as error:
        client.orders(1)

    assert "hush" not in caplog.text + str(error.value) + repr(client) + repr(vars(client))


def test_another_password_has_another_token(
    hub: Hub, connect: Callable[[], Omnitron], configure: Callable[..., Any]
) -> None:
    connect().orders(1)

    other = Omnitron(configure(OMNITRON_PASSWORD="old-hush"), lambda seconds: True)
    with other, pytest.raises(OmnitronRefusedError):
        other.orders(1)

    assert logins(hub) == 2


def test_a_password_that_was_refused_is_not_sent_again_for_a_while(
    hub: Hub, connect: Callable[[], Omnitron], configure: Callable[..., Any]
) -> None:
    configuration = configure(OMNITRON_PASSWORD="old-hush")

    for match in ("auth/login/ answered 400", "a login is tried again in", "a login is tried again in"):
        client = Omnitron(configuration, lambda seconds: True)
        with client, pytest.raises(OmnitronRefusedError, match=match):
            client.orders(1)

    assert logins(hub) == 1
    (key,) = keys()
    assert 0 < current().client.ttl(key) <= module.REFUSED_SECONDS


def test_without_redis_each_client_logs_in_by_itself(
    hub: Hub, connect: Callable[[], Omnitron], configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = configure(REDIS_URL="redis://127.0.0.1:1")
    silent = module.broker.make_client(configuration)
    with monkeypatch.context() as patched:
        patched.setattr(current(), "client", silent)
        for _ in range(2):
            connect().orders(1)

    assert logins(hub) == 2


def test_a_login_of_another_process_is_waited_for_and_not_for_ever(
    hub: Hub, connect: Callable[[], Omnitron], configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect().orders(1)
    (key,) = keys()
    current().client.delete(key)
    lock = key.replace(b":token", b":login")
    current().client.set(lock, "theirs", ex=60)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        if seconds:
            waited.append(seconds)
        if len(waited) == 3:
            current().client.set(key, TOKEN)
            current().client.delete(lock)
        return True

    with Omnitron(configure(), wait) as client:
        client.orders(1)

    assert (len(waited), logins(hub)) == (3, 1)


def test_a_login_that_is_away_is_no_refusal(hub: Hub, connect: Callable[[], Omnitron]) -> None:
    hub.fail(LOGIN, faults.status(503), times=100)

    with pytest.raises(OmnitronError, match="the login answered 503") as error:
        connect().orders(1)

    assert not isinstance(error.value, OmnitronRefusedError)


@pytest.mark.parametrize("what", ["token", "password"])
def test_a_pull_whose_credentials_are_refused_waits_with_one_line(
    db: None,
    hub: Hub,
    connect: Callable[[], Omnitron],
    configure: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    hub.add(an_order(7))
    wrong = {"token": {"OMNITRON_TOKEN": "wrong-hush"}, "password": {"OMNITRON_PASSWORD": "wrong-hush"}}
    configure(**wrong[what])

    result = get_orders_from_omnitron.function(Run(database_now(), budget=timedelta(minutes=1)))

    assert result is not None
    assert "Omnitron refuses" in result[WAITS_FOR]
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.exc_info is None
    assert "No order is pulled: Omnitron refuses" in line.message
    assert "hush" not in line.message
