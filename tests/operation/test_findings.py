"""`oms status --check` says what is wrong: each kind of finding, and nothing where all is well."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

import settings
from oms_workers.broker import current
from oms_workers.cli.app import app
from oms_workers.database import execute, rows
from oms_workers.operation import findings, status
from oms_workers.operation.status import collect
from oms_workers.orders.held_orders import release_order
from oms_workers.scheduling import known_cadences, process, table, tick
from oms_workers.scheduling.operation import TICK
from oms_workers.scheduling.run import waiting_for
from tests.fulfilment.samples import load_merchant
from tests.fulfilment.steps import GREEDY, PLACES, plan_all
from tests.orders.samples import an_order, store_orders


@pytest.fixture
def well(db: None) -> Iterator[None]:
    """A clock that has sent a tick, a worker that has run it, and no slot that was missed."""
    before = settings.current()
    current().client.flushdb()
    current().client.set(tick.SENT_KEY, datetime.now(UTC).isoformat())
    tick.record_tick()
    known_cadences.record(task.plan for task in table.tasks())
    process.start_liveness()
    yield
    process.stop_liveness()
    current().client.flushdb()
    settings._current = before


def found() -> list[str]:
    return collect(datetime.now(UTC))["findings"]


def test_where_all_is_well_nothing_is_found(well: None) -> None:
    ended = CliRunner().invoke(app, ["status", "--check"])

    assert (ended.exit_code, ended.output) == (0, "Everything moves.\n")


@pytest.mark.parametrize(
    ("age", "alive", "said"),
    [
        (timedelta(seconds=100), True, None),
        (timedelta(seconds=130), False, "The clock is silent since its tick of"),
        (timedelta(seconds=-55), True, None),
        (timedelta(hours=-1), False, "The clock's last tick has a stamp from the future"),
    ],
)
def test_the_clock_is_judged_by_its_stamp(well: None, age: timedelta, alive: bool, said: str | None) -> None:
    current().client.set(tick.SENT_KEY, (datetime.now(UTC) - age).isoformat())

    seen = collect(datetime.now(UTC))

    assert seen["clock"]["alive"] is alive
    assert [finding[: len(said or "")] for finding in seen["findings"]] == ([said] if said else [])


def test_a_clock_that_never_sent_and_workers_that_are_not_there_are_found(
    well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    current().client.delete(tick.SENT_KEY)
    monkeypatch.setattr(status, "living_workers", list)

    said = " ".join(found())

    assert "The clock has sent no tick yet" in said
    assert "No worker lives" in said


def test_a_tick_that_no_worker_runs_is_found(well: None) -> None:
    execute("UPDATE scheduled_tasks SET last_seen = now() - interval '10 min' WHERE task = %s", (TICK,))

    (finding,) = found()

    assert finding.startswith("No worker has run a tick since")


def test_a_slot_that_nothing_has_become_of_is_late(well: None, configure: Callable[..., Any]) -> None:
    execute(
        "UPDATE scheduled_tasks SET since = now() - interval '1 h' WHERE task = %s",
        ("oms.fulfilment.tasks.fulfil_waiting_orders",),
    )

    (finding,) = found()
    assert finding.startswith("fulfil-waiting-orders is late: nothing has become of its slot")

    configure(FULFIL_WAITING_ORDERS="false")
    assert found() == []


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("The last tick that a worker ran", "UPDATE scheduled_tasks SET last_seen = now() + interval '1 h'"),
        ("The start of the worker", "UPDATE workers SET started_at = now() + interval '1 h'"),
    ],
)
def test_a_stamp_from_the_future_is_a_finding_of_its_own(well: None, what: str, change: str) -> None:
    execute(change)

    (finding,) = found()

    assert finding.startswith(f"{what}")
    assert "has a stamp from the future" in finding


def test_what_a_clock_that_was_ahead_has_left_is_found(well: None) -> None:
    execute(
        """
        INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger)
        VALUES ('oms.fulfilment.tasks.fulfil_waiting_orders', now() + interval '1 hour', now(), 'succeeded',
                'tick')
        """
    )

    (finding,) = found()

    assert finding.startswith("fulfil-waiting-orders has 1 row(s) of the ledger in the future, up to")


def test_clocks_that_differ_are_found(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(findings, "database_now", lambda: ahead)

    said = found()

    assert any(
        "s ahead of this machine's. No run is claimed until they agree." in finding for finding in said
    )


def test_what_waits_too_long_is_found_since_it_came_and_not_since_it_was_placed(well: None) -> None:
    store_orders(an_order(7, date_placed="2026-01-01"))
    assert found() == []

    execute("UPDATE orders SET received_at = now() - interval '61 min'")
    (finding,) = found()

    assert finding.startswith("orders waiting: 1, the longest waiting since")
    assert "61 min ago, which is more than 1 h" in finding


def test_what_no_enabled_task_picks_up_is_found_after_a_day(
    well: None, configure: Callable[..., Any]
) -> None:
    configure(FULFIL_REPLANNING_ORDERS="false")
    execute("INSERT INTO locations (code, name, type) VALUES ('GEBZE', 'Gebze', 'store')")
    execute(
        """
        INSERT INTO stock (sku, location_id, on_hand, reserved, snapshot_at)
        VALUES ('CHAIR', 1, 0, 1, now() - interval '25 h')
        """
    )

    (finding,) = found()

    assert "nothing picks these up: FULFIL_REPLANNING_ORDERS disabled" in finding


def test_an_old_message_in_a_queue_is_found() -> None:
    now = datetime.now(UTC)
    queue = {"name": "default", "depth": 3, "oldest": now - findings.QUEUE_PATIENCE}

    (finding,) = findings._of_queues([queue], now)

    assert finding.startswith("3 messages wait in the queue default")
    assert [*findings._of_queues([{**queue, "oldest": now}], now)] == []


def test_the_check_ends_with_status_1_and_the_findings(well: None) -> None:
    current().client.delete(tick.SENT_KEY)

    ended = CliRunner().invoke(app, ["status", "--check"])
    as_json = CliRunner().invoke(app, ["status", "--check", "--json"])
    shown = CliRunner().invoke(app, ["status"])

    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "The clock has sent no tick yet" in ended.stderr
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["findings"] == ended.stderr.splitlines()
    assert shown.exit_code == 0
    assert "! The clock has sent no tick yet" in shown.output


def test_an_order_waits_since_it_came_here_and_not_since_it_was_received(well: None) -> None:
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5}, GREEDY)
    store_orders(an_order(7, skus=("CHAIR",)), an_order(8, skus=("CHAIR",)))
    plan_all()
    execute("UPDATE orders SET received_at = now() - interval '5 d'")
    execute("UPDATE orders SET state = 'held' WHERE number = '8'")
    assert [finding[:11] for finding in found()] == ["orders held"]

    store_orders(an_order(7, skus=("CHAIR", "CHAIR"), modified_date="2026-12-01T00:00:00Z"))
    release_order("8", actor="tests")

    assert rows("SELECT count(*) FROM orders WHERE line_changes IS NOT NULL") == [(1,)]
    assert found() == []


def test_a_task_that_waits_for_a_person_is_found_until_it_works_again(
    well: None, configure: Callable[..., Any]
) -> None:
    configure(OMNITRON_ORDERS="true")
    task = "oms.orders.tasks.get_orders_from_omnitron"
    insert = (
        "INSERT INTO scheduled_runs (task, slot, first_slot, state, trigger, attempts, result)"
        " VALUES (%s, now(), now(), 'succeeded', 'periodiq', 1, %s)"
    )
    execute(insert, (task, Jsonb(waiting_for("Omnitron refuses our credentials."))))
    assert found() == ["get-omnitron-orders-cron does nothing: Omnitron refuses our credentials."]

    execute("UPDATE scheduled_runs SET result = %s", (Jsonb({"stored": 1}),))
    assert found() == []
