"""Connections that die, transactions that are worth another try, and pools that are spent."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from peewee import OperationalError

import settings
from oms_workers.database import (
    UNREACHABLE,
    connection,
    connection_parameters,
    database,
    execute,
    retry_transient,
    rows,
    sqlstate,
    transaction,
)


@pytest.fixture(autouse=True)
def shelf(db: None) -> None:
    execute("CREATE TABLE IF NOT EXISTS shelf (id int PRIMARY KEY, units int)")
    execute("TRUNCATE shelf")
    execute("INSERT INTO shelf VALUES (1, 0), (2, 0)")


@pytest.fixture(autouse=True)
def no_shelf_after(shelf: None):
    yield
    execute("DROP TABLE shelf")


def test_an_error_says_its_sqlstate() -> None:
    with pytest.raises(Exception, match="nowhere") as error:
        execute("SELECT 1 FROM nowhere")

    assert sqlstate(error.value) == "42P01"
    assert sqlstate(ValueError("no database was asked")) is None


def test_two_that_deadlock_both_come_to_their_end() -> None:
    both_hold_one = threading.Barrier(2)

    def take(first: int, second: int) -> int:
        attempts = 0

        def work() -> None:
            nonlocal attempts
            attempts += 1
            with transaction():
                execute("UPDATE shelf SET units = units + 1 WHERE id = %s", (first,))
                if attempts == 1:
                    both_hold_one.wait(10)
                execute("UPDATE shelf SET units = units + 1 WHERE id = %s", (second,))

        with connection():
            retry_transient(work)
        return attempts

    with ThreadPoolExecutor(2) as pool:
        attempts = [future.result(30) for future in (pool.submit(take, 1, 2), pool.submit(take, 2, 1))]

    assert sorted(attempts) == [1, 2]
    assert rows("SELECT units FROM shelf ORDER BY id") == [(2,), (2,)]


def test_a_lock_that_does_not_come_is_worth_another_try_but_not_for_ever() -> None:
    attempts = 0

    def work() -> None:
        nonlocal attempts
        attempts += 1
        with transaction():
            execute("SET LOCAL lock_timeout = '20ms'")
            execute("UPDATE shelf SET units = 1")

    with psycopg.connect(**connection_parameters(settings.current())) as other:
        other.execute("SELECT 1 FROM shelf FOR UPDATE")
        with pytest.raises(OperationalError) as error:
            retry_transient(work, attempts=3)

    assert attempts == 3
    assert sqlstate(error.value) == "55P03"


def test_what_is_not_transient_is_raised_at_once() -> None:
    attempts = 0

    def work() -> None:
        nonlocal attempts
        attempts += 1
        execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with ThreadPoolExecutor(1) as pool, pytest.raises(UNREACHABLE):

        def alone() -> None:
            with connection():
                retry_transient(work)

        pool.submit(alone).result(10)

    assert attempts == 1


def test_a_pooled_connection_that_died_is_replaced() -> None:
    def backend() -> int:
        with connection():
            found = rows("SELECT pg_backend_pid() AS pid")[0]
            assert found is not None
            return int(found.pid)

    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(backend).result(10)
        execute("SELECT pg_terminate_backend(%s)", (before,))
        after = pool.submit(backend).result(10)

    assert after != before


def test_a_pool_that_is_spent_is_waited_for_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    database.close_idle()
    monkeypatch.setattr(database, "_wait_timeout", 0.05)
    monkeypatch.setattr(database, "_max_connections", 1)

    def ask() -> None:
        with connection():
            execute("SELECT 1")

    with ThreadPoolExecutor(1) as pool, pytest.raises(UNREACHABLE):
        pool.submit(ask).result(10)
