"""The stock protocol, where orders do not matter."""

from datetime import UTC, datetime

import psycopg
import pytest

import settings
from oms_workers.database import connection_parameters, execute, rows, transaction
from oms_workers.merchant_values import LoadError
from oms_workers.reservations.loading import LocationSpec, StockSpec, load_locations, load_stock
from oms_workers.reservations.stock import available, lock_and_check
from tests.fulfilment.samples import load_merchant

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def merchant(db: None) -> None:
    load_merchant(
        {"GEBZE": {}, "IZMIR": {}}, {("CHAIR", "GEBZE"): 5, ("CHAIR", "IZMIR"): 2, ("LAMP", "GEBZE"): 1}
    )


def test_available_is_on_hand_without_what_is_reserved_and_safe() -> None:
    execute("UPDATE stock SET reserved = 1, safety = 2 WHERE sku = 'CHAIR'")

    assert available({"CHAIR", "LAMP", "UNKNOWN"}) == {"CHAIR": {1: 2, 2: -1}, "LAMP": {1: 1}}


def test_demands_are_met_first_come_first_served() -> None:
    demands = [
        {("CHAIR", 1): 3},
        {("CHAIR", 1): 3},
        {("CHAIR", 1): 2, ("LAMP", 1): 1},
        {("LAMP", 1): 1},
        {},
        {("UNKNOWN", 1): 1},
    ]

    with transaction():
        assert lock_and_check(demands) == [True, False, True, False, True, False]


def test_a_demand_that_does_not_fit_takes_nothing() -> None:
    with transaction():
        assert lock_and_check([{("CHAIR", 1): 5, ("LAMP", 1): 2}, {("CHAIR", 1): 5}]) == [False, True]


def test_loading_stock_sets_what_is_on_hand_and_notes_each_change() -> None:
    execute("UPDATE stock SET reserved = 1")
    before = rows("SELECT count(*) AS n FROM stock_movements")[0].n

    with transaction():
        levels = [
            StockSpec(sku="CHAIR", location="GEBZE", on_hand=0),
            StockSpec(sku="CHAIR", location="IZMIR", on_hand=2),
            StockSpec(sku="STOOL", location="IZMIR", on_hand=4),
        ]
        assert len(load_stock(levels, at=NOW)) == 3

    assert rows("SELECT sku, location_id, on_hand, reserved FROM stock ORDER BY sku, location_id") == [
        ("CHAIR", 1, 0, 1),
        ("CHAIR", 2, 2, 1),
        ("LAMP", 1, 1, 1),
        ("STOOL", 2, 4, 0),
    ]
    moved = rows(
        "SELECT sku, location_id, quantity, kind FROM stock_movements ORDER BY id OFFSET %s", (before,)
    )
    assert moved == [("CHAIR", 1, -5, "snapshot"), ("STOOL", 2, 4, "snapshot")]


def test_stock_of_an_unknown_location_is_refused_by_name() -> None:
    with pytest.raises(LoadError, match="'ATLANTIS'"), transaction():
        load_stock([StockSpec(sku="CHAIR", location="ATLANTIS", on_hand=1)], at=NOW)


def test_stock_given_twice_is_refused() -> None:
    level = StockSpec(sku="CHAIR", location="GEBZE", on_hand=1)

    with pytest.raises(LoadError, match="twice"), transaction():
        load_stock([level, level], at=NOW)


def test_the_default_location_moves_when_another_says_so() -> None:
    with transaction():
        load_locations([LocationSpec(code="IZMIR", name="Izmir", type="store", is_default=True)])

    assert rows("SELECT code FROM locations WHERE is_default") == [("IZMIR",)]


def test_two_default_locations_are_refused_by_name() -> None:
    places = [LocationSpec(code=code, name=code, type="store", is_default=True) for code in ("A", "B")]

    with pytest.raises(LoadError, match="A and B both"), transaction():
        load_locations(places)


def test_what_a_file_leaves_out_of_a_location_stays_as_it_is() -> None:
    execute("UPDATE locations SET quota = 7")

    with transaction():
        load_locations([LocationSpec(code="GEBZE", name="Gebze, moved", type="store")])

    assert rows("SELECT name, quota, is_default FROM locations WHERE code = 'GEBZE'") == [
        ("Gebze, moved", 7, True)
    ]


def test_a_location_changes_while_others_refer_to_it() -> None:
    execute("SET lock_timeout = '50ms'")
    try:
        with psycopg.connect(**connection_parameters(settings.current())) as other:
            # What a foreign key takes, when a package of the location is written.
            other.execute("SELECT 1 FROM locations FOR KEY SHARE")
            with transaction():
                load_locations([LocationSpec(code="GEBZE", name="Gebze, moved", type="store")])
    finally:
        execute("SET lock_timeout = '10s'")

    assert rows("SELECT name FROM locations WHERE code = 'GEBZE'") == [("Gebze, moved",)]


def test_the_last_default_location_cannot_be_taken_away() -> None:
    with pytest.raises(LoadError, match="mark one with is_default"), transaction():
        load_locations([LocationSpec(code="GEBZE", name="Gebze", type="store", is_default=False)])
