"""The variables and the file `.env`, and which of them wins."""

from pathlib import Path

import pytest

import settings
from oms_workers.configuration.cadence import Interval


def test_the_environment_wins_over_the_file(configure, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TICK_SECONDS=7\nDB_MAINTENANCE=false\nOMNITRON_ORDERS_SCHEDULE=30\n")

    loaded = configure(TICK_SECONDS="9", OMNITRON_ORDERS_SCHEDULE="45")

    assert loaded.tick_seconds == 9
    assert loaded.switch("DB_MAINTENANCE").enabled is False
    assert loaded.switch("OMNITRON_ORDERS").cadence == Interval(45)


def test_a_line_of_the_file_that_cannot_be_read_is_refused_by_its_number(configure, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('TICK_SECONDS=7\nDATABASE_URL="hunter2\n')

    with pytest.raises(settings.SettingsError) as raised:
        configure(DB_MAINTENANCE="maybe")

    assert "line 2 of .env: cannot be read" in str(raised.value)
    assert "DB_MAINTENANCE='maybe'" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_not_text_is_refused(configure, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TICK_SECONDS=\xff\n")

    with pytest.raises(settings.SettingsError, match=r"\.env: cannot be read: it is not UTF-8"):
        configure()


def test_small_letters_mean_the_same(configure) -> None:
    loaded = configure(db_maintenance="false", tick_seconds="7")

    assert loaded.switch("DB_MAINTENANCE").enabled is False
    assert loaded.tick_seconds == 7
