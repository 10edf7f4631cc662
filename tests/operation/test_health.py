"""What the live view says is wrong, looked at beside it."""

import threading
import time
from typing import Any

import pytest

from oms_workers.operation import health
from oms_workers.operation.health import Health
from oms_workers.operation.services import ServiceError


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch):
    """A look at servers whose status is made up, or whose silence is raised."""

    def look(status: dict[str, Any] | Exception, *, started: float = 0.0) -> list[str]:
        def collect(now: object) -> dict[str, Any]:
            if isinstance(status, Exception):
                raise status
            return status

        monkeypatch.setattr(health, "collect", collect)
        watching = Health(threading.Event())
        watching._started = started
        return [*watching._look()]

    return look


def test_a_silent_server_is_said_at_once(watch) -> None:
    redis_away = {"problem": "Redis does not answer at REDIS_URL", "findings": ["more"]}

    assert watch(redis_away, started=time.monotonic()) == ["Redis does not answer at REDIS_URL"]
    assert watch(ServiceError("PostgreSQL does not answer")) == ["PostgreSQL does not answer"]
    assert watch(ValueError("odd")) == ["What is wrong cannot be seen: ValueError."]


def test_a_clock_and_a_worker_have_some_time_to_start(watch) -> None:
    status = {"problem": None, "findings": ["No worker lives"]}

    assert watch(status, started=time.monotonic()) == []
    assert watch(status, started=time.monotonic() - 31) == ["No worker lives"]


def test_a_server_that_neither_answers_nor_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Health(threading.Event())
    watching._looked_at = time.monotonic() - 12

    assert watching.findings() == ["PostgreSQL or Redis has not answered for 12 s."]
