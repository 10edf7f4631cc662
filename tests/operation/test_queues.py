"""What waits in the queues."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from oms_workers.broker import current
from oms_workers.operation import queues

FULFIL = "oms.fulfilment.tasks.fulfil_waiting_orders"


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    current().client.flushdb()
    yield
    current().client.flushdb()


def put(data: str) -> None:
    current().do_enqueue("default", f"id {data}", data)


def of_default() -> dict[str, object]:
    (found,) = [queue for queue in queues.depths() if queue["name"] == "default"]
    return found


def test_it_is_said_what_waits_for_a_thread_and_since_when() -> None:
    for minutes in (3, 9):
        sent_at = datetime(2026, 11, 25, 12, tzinfo=UTC) - timedelta(minutes=minutes)
        put(f'{{"actor_name": "{FULFIL}", "message_timestamp": {sent_at.timestamp() * 1000:.0f}}}')

    since = datetime(2026, 11, 25, 11, 51, tzinfo=UTC)
    assert of_default() == {
        "name": "default",
        "depth": 2,
        "oldest": since,
        "waiting": [{"actor": FULFIL, "count": 2, "oldest": since}],
    }


@pytest.mark.parametrize(
    "data", ["", "not JSON", "[]", "{}", '{"message_timestamp": 1e300, "actor_name": 1}']
)
def test_a_message_that_nobody_can_read_is_counted(data: str) -> None:
    put(data)

    assert of_default() == {"name": "default", "depth": 1, "oldest": None, "waiting": []}
