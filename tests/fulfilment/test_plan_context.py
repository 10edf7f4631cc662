"""The context of plans: what became of a plan's packages, rewritten only where it changed."""

from datetime import timedelta

import pytest

from oms_workers.database import database_now, execute, rows
from oms_workers.fulfilment import plan_context
from oms_workers.fulfilment.plan_context import MAX_AGE, refresh_contexts
from oms_workers.scheduling.run import Run


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


def some_plans(plans: int, state: int = 500) -> None:
    execute(
        """
        INSERT INTO orders
            (omnitron_id, number, status, state, next_plan_at, placed_at, received_at, facts, payload)
        SELECT n, n, '400', 'planned', now(), now(), now(), '{}', '{}' FROM generate_series(1, %s::int) AS n
        """,
        (plans,),
    )
    execute("INSERT INTO locations (code, name, type) VALUES ('GEBZE', 'Gebze', 'store')")
    execute(
        """
        INSERT INTO order_execution_plans (order_id, state, attempt, context, created_at)
        SELECT id, 'completed', 1, '{"scenario": "x"}', now() - id * interval '1 ms' FROM orders
        """
    )
    execute(
        """
        INSERT INTO packages (number, order_id, plan_id, location_id, state, created_at)
        SELECT 'P' || order_id, order_id, id, 1, %s, now() FROM order_execution_plans
        """,
        (state,),
    )


def refresh() -> int:
    return refresh_contexts(Run(database_now(), budget=timedelta(minutes=1)))["rewritten"]


def test_only_what_changed_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_context, "BATCH", 300)
    some_plans(2_000)

    first, second = refresh(), refresh()
    execute("UPDATE packages SET state = 600, changed_at = now() WHERE id <= 100")
    third, fourth = refresh(), refresh()

    assert (first, second, third, fourth) == (2_000, 0, 100, 0)


def test_the_context_gains_the_packages_and_keeps_the_trace() -> None:
    some_plans(1)

    refresh()

    ((context,),) = rows("SELECT context FROM order_execution_plans")
    assert context["scenario"] == "x"
    assert [
        (package["number"], package["state"], package["location"]) for package in context["packages"]
    ] == [("P1", 500, "GEBZE")]
    assert set(context["packages"][0]) >= {"created_at", "changed_at"}
    assert context["refreshed_at"]


@pytest.mark.parametrize(("state", "rewritten"), [(400, 0), (450, 1), (500, 1)])
def test_packages_count_from_450_on(state: int, rewritten: int) -> None:
    some_plans(1, state)

    assert refresh() == rewritten


@pytest.mark.parametrize(("hours", "rewritten"), [(-1, 1), (1, 0)])
def test_plans_older_than_three_months_are_left_as_they_are(hours: int, rewritten: int) -> None:
    some_plans(1)
    age = MAX_AGE + timedelta(hours=hours)
    execute("UPDATE order_execution_plans SET created_at = now() - %s::interval", (age,))

    assert refresh() == rewritten


def test_told_to_stop_it_ends_after_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_context, "BATCH", 3)
    some_plans(10)
    run = Run(database_now(), budget=timedelta(0))

    assert refresh_contexts(run)["rewritten"] == 3
    assert run.stopped_by is not None
