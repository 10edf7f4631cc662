"""Old movements are summed up, and what all movements add up to stays what it was."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oms_workers.database import execute, rows
from oms_workers.reservations.retention import MOVEMENTS, SUMMED
from oms_workers.retention import remove_in_batches

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AGE = timedelta(days=90)
DAY = timedelta(days=1)


def never() -> bool:
    return False


def move(sku: str, location: int, units: int, kind: str, at: datetime) -> None:
    execute(
        """
        INSERT INTO stock_movements (sku, location_id, quantity, kind, reason, at)
        VALUES (%s, %s, %s, %s, 'tests', %s)
        """,
        (sku, location, units, kind, at),
    )


def sums() -> list[Any]:
    return rows(
        """
        SELECT sku, location_id, kind, sum(quantity), sum(coalesce(summed_rows, 1))
        FROM stock_movements GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """
    )


def test_one_row_for_each_stock_and_kind_has_the_sum_of_the_old_ones(db: None) -> None:
    old = NOW - AGE - DAY
    for units in (5, -2, 4):
        move("LAMP", 1, units, "snapshot", old)
    move("LAMP", 1, 3, "reserved", old)
    move("LAMP", 2, 1, "snapshot", old + timedelta(hours=1))
    move("LAMP", 1, 100, "snapshot", NOW)
    before = sums()

    assert remove_in_batches(MOVEMENTS, NOW, age=AGE, should_stop=never, batch=2) == 5

    assert sums() == before
    kept = rows(
        "SELECT sku, location_id, quantity, kind, reason, at, summed_rows FROM stock_movements ORDER BY id"
    )
    assert kept == [
        ("LAMP", 1, 100, "snapshot", "tests", NOW, None),
        ("LAMP", 1, 7, "snapshot", SUMMED, old, 3),
        ("LAMP", 1, 3, "reserved", SUMMED, old, 1),
        ("LAMP", 2, 1, "snapshot", SUMMED, old + timedelta(hours=1), 1),
    ]


def test_a_later_run_adds_to_the_sums_that_there_are(db: None) -> None:
    move("LAMP", 1, 5, "received", NOW - AGE - DAY)
    move("LAMP", 1, 6, "received", NOW - AGE + DAY)
    remove_in_batches(MOVEMENTS, NOW, age=AGE, should_stop=never)

    assert remove_in_batches(MOVEMENTS, NOW + 2 * DAY, age=AGE, should_stop=never) == 1

    assert rows("SELECT quantity, at, summed_rows FROM stock_movements") == [(11, NOW - AGE + DAY, 2)]


moves = st.lists(
    st.tuples(
        st.sampled_from(["CHAIR", "LAMP"]),
        st.integers(1, 2),
        st.integers(-1000, 1000),
        st.sampled_from(["received", "reserved", "snapshot"]),
        st.integers(0, 200),
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(moves, st.integers(1, 7))
def test_the_sums_are_the_same_whatever_moved_and_wherever_it_is_interrupted(
    db: None, moved: list[tuple[str, int, int, str, int]], batch: int
) -> None:
    execute("TRUNCATE stock_movements")
    for sku, location, units, kind, days in moved:
        move(sku, location, units, kind, NOW - days * DAY)
    before = sums()

    remove_in_batches(MOVEMENTS, NOW, age=AGE, should_stop=lambda: True, batch=batch)
    assert sums() == before
    remove_in_batches(MOVEMENTS, NOW, age=AGE, should_stop=never, batch=batch)
    assert sums() == before
    old = sum(days > AGE.days for *_, days in moved)
    assert rows("SELECT count(*) FROM stock_movements WHERE summed_rows IS NULL")[0][0] == len(moved) - old
