"""`oms audit`: what happened to an object, who did it, and whatever was archived of it."""

import getpass
import json
from datetime import timedelta

import pytest

from oms_workers.audit_events.archive import archive
from oms_workers.audit_events.history import DoubleFinderError, register_audited
from oms_workers.cli import operators
from oms_workers.database import database_now, execute
from oms_workers.orders.audited import orders_called


def actions(said: str) -> list[str]:
    return [event["action"] for event in json.loads(said)["events"]]


def archive_everything() -> None:
    now = database_now()
    assert archive(now, older_than=timedelta(0), should_stop=lambda: False)


def test_an_order_has_its_own_events_and_those_of_its_plans(oms, package: str) -> None:
    found = json.loads(oms("audit", "7", "--json").output)

    assert [(event["object_type"], event["action"]) for event in found["events"]] == [
        ("order", "received"),
        ("order", "planned"),
        ("plan", "created"),
    ]
    assert found["more"] == 0
    assert found["events"][2]["name"] == "7, attempt 1"


def test_the_archive_is_a_part_of_the_history(oms, package: str) -> None:
    archive_everything()
    oms("command", package, "START_PREPARING")

    found = json.loads(oms("audit", package, "--json").output)["events"]

    assert [event["action"] for event in found] == ["created", "preparing_started"]
    assert [event["archived_at"] is not None for event in found] == [True, False]


def test_what_reads_the_last_event_sees_it_in_the_archive_too(oms, package: str) -> None:
    oms("command", package, "PRODUCT_NOT_FOUND", "--reason", "the shelf is empty")
    archive_everything()

    listed = json.loads(oms("packages", "--state", "out_of_stock", "--json").output)
    (explained,) = json.loads(oms("explain", "7", "--json").output)

    assert listed["packages"][0]["reason"] == "the shelf is empty"
    assert explained["packages"][0]["last_event"]["action"] == "rejected"


@pytest.mark.parametrize(("variable", "name"), [("", getpass.getuser()), ("Ada L.", "Ada L.")])
def test_the_person_is_named(
    oms, package: str, monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv("OMS_ACTOR", variable)
    oms("command", package, "START_PREPARING", "--reason", "as asked")

    event = json.loads(oms("audit", package, "--json").output)["events"][-1]

    assert event["actor"] == f"operator:{name}"
    assert event["content"] == {"before": "waiting", "after": "preparing", "reason": "as asked"}


def test_a_user_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(operators.getpass, "getuser", nobody)
    monkeypatch.setattr(operators.os, "getuid", lambda: 4711)

    assert operators.operator() == "operator:uid 4711"


def test_an_actor_that_cannot_be_printed_is_refused(oms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_ACTOR", "ada\x1b[31m")

    ended = oms("audit", "7")

    assert ended.exit_code == 2
    assert "OMS_ACTOR" in ended.stderr


def test_since_and_limit_leave_the_newest(oms, package: str) -> None:
    oms("command", package, "START_PREPARING")
    execute("UPDATE audit_events SET at = at - interval '2 days' WHERE action = 'created'")
    yesterday = (database_now() - timedelta(days=1)).isoformat()

    assert actions(oms("audit", package, "--since", yesterday, "--json").output) == ["preparing_started"]
    found = json.loads(oms("audit", package, "--limit", "1", "--json").output)
    assert [event["action"] for event in found["events"]] == ["preparing_started"]
    assert found["more"] == 1


def test_an_object_that_is_gone_is_asked_for_by_type_and_id(oms) -> None:
    execute(
        """
        INSERT INTO audit_events (at, actor, object_type, object_id, action, content)
        VALUES (now(), 'tests', 'plan', 42, 'created', '{"state": "cancelled"}')
        """
    )

    said = oms("audit", "plan:42").output

    assert "plan plan:42" in said
    assert "cancelled" in said


@pytest.mark.parametrize(
    "name", ["nothing", "plan:43", "plan:", ":1", "plan:9999999999999999999", "plan:٤", "plan:" + "9" * 5000]
)
def test_what_is_unknown_is_an_error_that_says_how_to_ask(oms, name: str) -> None:
    ended = oms("audit", name)

    assert ended.exit_code == 1
    assert "plan:42" in str(ended.exception)


def test_a_table_says_from_to_by_and_why(oms, package: str) -> None:
    oms("command", package, "REFUSE", "--reason", "closed for the day")

    said = " ".join(oms("audit", package).output.split())

    assert f"package {package} rejected waiting needs_replan operator:" in said
    assert "closed for the day" in said


def test_a_finder_is_registered_once() -> None:
    with pytest.raises(DoubleFinderError, match="orders_called is registered twice"):
        register_audited(orders_called)
