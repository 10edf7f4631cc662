"""The files of `oms load`: what they leave out stays, and what cannot be meant is refused by name."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from oms_workers.database import database, execute, rows
from oms_workers.fulfilment.scenarios import active_scenarios
from oms_workers.merchant_values import LoadError
from oms_workers.operation.load_files import load_files
from tests.examples import FILES

EXAMPLES = [*map(Path, FILES)]


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Each test begins with nothing."""


NEW = {"code": "BURSA", "name": "Bursa", "type": "store"}
STOCKED = {"sku": "RED-LAMP", "location": "GEBZE-DC"}
RULES = [{"name": "wherever it is"}]


def a_file(directory: Path, **lists: Any) -> Path:
    file = directory / "merchant.json"
    file.write_text(json.dumps(lists))
    return file


def a_scenario(**rule: Any) -> dict[str, Any]:
    return {"scenarios": [{"name": "x", "rules": [{"name": "r", **rule}]}]}


def everything() -> list[Any]:
    tables = ("locations", "stock", "stock_movements", "scenarios", "scenario_rules")
    return [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"locations": [{**NEW, "active": False, "is_default": True}]}, "'BURSA' would have active false"),
        ({"locations": [{"code": "GEBZE-DC", "active": False}]}, "'GEBZE-DC' would have active false"),
        ({"locations": [{"code": "BURSA"}]}, "the location 'BURSA' is new and needs name and type"),
        ({"locations": [{"code": "BURSA", "name": "Bursa"}]}, "'BURSA' is new and needs type"),
        ({"locations": [{**NEW, "name": None}]}, "locations.0.name of code 'BURSA' is null: "),
        (
            {"locations": [{**NEW, "code": " "}]},
            "locations.0.code of code ' ' is ' ': is empty or only blanks",
        ),
        ({"locations": [{**NEW, "code": "A\0"}]}, "is 'A\\x00': holds a control character"),
        ({"locations": [{**NEW, "code": "A\n"}]}, "holds a control character"),
        ({"locations": [{**NEW, "address": "x\0"}]}, "locations.0.address of code 'BURSA' is 'x\\x00'"),
        ({"locations": [{**NEW, "code": "\ud800"}]}, "locations.0.code"),
        ({"locations": [{**NEW, "priority": 2**31}]}, "locations.0.priority of code 'BURSA' is 2147483648"),
        ({"locations": [{**NEW, "quota": True}]}, "locations.0.quota of code 'BURSA' is true"),
        ({"locations": [{**NEW, "latitude": True}]}, "locations.0.latitude of code 'BURSA' is true"),
        (
            {"locations": [NEW, {**NEW, "code": "bursa "}]},
            "locations.1.code of code 'bursa ' is 'bursa': is given twice",
        ),
        (
            {
                "stock": [
                    {**STOCKED, "on_hand": 1},
                    {"sku": " RED-LAMP", "location": "gebze-dc", "on_hand": 1},
                ]
            },
            "stock.1.sku of sku ' RED-LAMP' at 'gebze-dc' is 'RED-LAMP': is given twice",
        ),
        (
            {
                "stock": [
                    {**STOCKED, "sku": "I\u0307X", "on_hand": 1},
                    {**STOCKED, "sku": "\u0130X", "on_hand": 1},
                ]
            },
            "stock.1.sku",
        ),
        ({"stock": [{**STOCKED, "on_hand": 2**31}]}, "on_hand of sku 'RED-LAMP' at 'GEBZE-DC' is 2147483648"),
        ({"stock": [{**STOCKED, "on_hand": -(2**31) - 1}]}, "is -2147483649"),
        ({"stock": [{**STOCKED, "safety": 2**63}]}, "is 9223372036854775808"),
        ({"stock": [{**STOCKED, "sku": "A\0", "on_hand": 1}]}, "holds a control character"),
        ({"scenarios": [{"name": "x\0", "rules": RULES}]}, "scenarios.0.name of name 'x\\x00'"),
        (a_scenario(max_packages=2**31), "max_packages"),
        (a_scenario(min_package_value=10**40), "min_package_value"),
        (
            {"scenarios": [{"name": "new", "rules": RULES}, {"name": "New ", "rules": RULES}]},
            "is given twice",
        ),
        (
            {"scenarios": [{"name": "new", "rules": [*RULES, {"name": "Wherever  it is"}]}]},
            "scenarios.0.rules.1.name of name 'Wherever  it is' of name 'new'",
        ),
        ({"counted_at": "soon"}, "counted_at is 'soon': is no time with an offset"),
        ({"locations": [NEW, NEW]}, "locations.1.code of code 'BURSA' is 'BURSA': is given twice"),
        (
            {"stock": [{**STOCKED, "on_hand": True}]},
            "stock.0.on_hand of sku 'RED-LAMP' at 'GEBZE-DC' is true",
        ),
        ({"stock": [{**STOCKED, "on_hand": "1_000"}]}, "is '1_000': is not a whole number"),
        ({"stock": [{**STOCKED, "on_hand": 1.5}]}, "stock.0.on_hand of sku 'RED-LAMP' at 'GEBZE-DC' is 1.5"),
        ({"stock": [{**STOCKED, "safety": None}]}, "stock.0.safety of sku 'RED-LAMP' at 'GEBZE-DC' is null"),
        (
            {"stock": [{"sku": "NEW", "location": "GEBZE-DC"}]},
            "the stock of 'NEW' at 'GEBZE-DC' is new and needs on_hand",
        ),
        (
            {"stock": [{**STOCKED, "on_hand": 1, "location": "NOWHERE"}]},
            "is 'NOWHERE': no such location is known",
        ),
        (
            {"stock": [{**STOCKED, "on_hand": 1}] * 2},
            "stock.1.sku of sku 'RED-LAMP' at 'GEBZE-DC' is 'RED-LAMP': is given twice",
        ),
        ({"scenarios": [{"name": "new"}]}, "the scenario 'new' is new and needs rules"),
        (
            {"scenarios": [{"name": "new", "rules": []}]},
            "scenarios.0.rules of name 'new' is []: a scenario without",
        ),
        ({"scenarios": [{"name": "new", "rules": RULES}] * 2}, "scenarios.1.name of name 'new' is 'new'"),
        (
            {"scenarios": [{"name": "new", "rules": RULES * 2}]},
            "scenarios.0.rules.1.name of name 'wherever it is' of name 'new'",
        ),
        (
            {"scenarios": [{"name": "x", "rules": RULES, "conditions": {"channel": []}}]},
            "conditions.channel of name 'x' is []",
        ),
        (a_scenario(filters={"types": []}), "rules.0.filters.types of name 'r' of name 'x' is []"),
        (a_scenario(filters={"locations": []}), "filters.locations"),
        (
            a_scenario(filters={"types": ["wharehouse"]}),
            "is 'wharehouse': no location has this type; there are store, warehouse",
        ),
        (a_scenario(filters={"except_locations": ["X"]}), "is 'X': no such location"),
        (a_scenario(max_packages=True), "max_packages"),
        (a_scenario(min_package_value="1_0"), "is '1_0': is not a number"),
        (a_scenario(outcome="hold", hold_reason=" "), "hold_reason"),
    ],
)
def test_load_refuses_what_cannot_be_meant(tmp_path: Path, lists: dict[str, Any], said: str) -> None:
    load_files(EXAMPLES)
    before = everything()
    file = a_file(tmp_path, **lists)

    with pytest.raises(LoadError) as refused:
        load_files([file])

    assert said in str(refused.value)
    assert str(file) in str(refused.value) or "default location" in str(refused.value)
    assert everything() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"stock": [{"sku": "A", "location": "B", "on_hand": 1, "on_hand": 2}]}', "'on_hand' stands twice"),
        (b'{"stock": [}', "is no JSON: line 1, column 12"),
        (b'{"stock": [{"sku": "A", "location": "B", "on_hand": NaN}]}', "NaN is no number"),
        (b"\xff", "is not UTF-8"),
        (
            b'{"stock": [{"sku": "A", "location": "B", "on_hand": ' + b"9" * 5000 + b"}]}",
            "on_hand of sku 'A'",
        ),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[]", "the whole is []"),
    ],
)
def test_load_refuses_what_is_no_file_of_ours(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "merchant.json"
    file.write_bytes(content)

    with pytest.raises(LoadError) as refused:
        load_files([file])

    assert f"{file}: " in str(refused.value)
    assert said in str(refused.value)


def test_load_says_after_ten_how_many_more(tmp_path: Path) -> None:
    one = a_file(tmp_path, stock=[{"sku": f"S{n}", "location": "X", "on_hand": True} for n in range(9)])
    (tmp_path / "more").mkdir()
    more = a_file(tmp_path / "more", locations=[{"code": ""}] * 4)

    with pytest.raises(LoadError) as refused:
        load_files([one, more])

    said = str(refused.value).splitlines()

    assert len(said) == 12
    assert said[10].startswith(f"  {more}: locations.0.code")
    assert said[11] == "  and 3 more"


def test_load_keeps_what_a_file_leaves_out(tmp_path: Path) -> None:
    load_files(EXAMPLES)
    load_files([a_file(tmp_path, stock=[{**STOCKED, "on_hand": 8, "safety": 3}])])
    level = "SELECT on_hand, safety, counted_at FROM stock WHERE sku = 'RED-LAMP' AND location_id = 1"
    counted = rows(level)[0].counted_at

    load_files([a_file(tmp_path, stock=[{**STOCKED, "on_hand": 9}])])
    ((on_hand, safety, recounted),) = rows(level)
    load_files([a_file(tmp_path, stock=[{**STOCKED, "safety": 2}])])

    assert (on_hand, safety) == (9, 3)
    assert recounted > counted
    assert rows(level) == [(9, 2, recounted)]


def test_load_keeps_of_a_scenario_what_a_file_leaves_out(tmp_path: Path) -> None:
    load_files(EXAMPLES)
    name = "marketplace orders leave from the warehouses"
    columns = "SELECT priority, active, conditions FROM scenarios ORDER BY id"
    before, rules = rows(columns), rows("SELECT * FROM scenario_rules ORDER BY id")

    load_files([a_file(tmp_path, scenarios=[{"name": name, "active": False}])])

    assert rows(columns) == [(1, False, {"channel": ["marketplace"]}), *before[1:]]
    assert rows("SELECT * FROM scenario_rules ORDER BY id") == rules

    changed = {"name": name, "conditions": {}, "rules": RULES}
    load_files([a_file(tmp_path, scenarios=[changed])])

    assert rows(columns) == [(1, False, {}), *before[1:]]
    assert rows("SELECT name FROM scenario_rules WHERE scenario_id = 1") == [("wherever it is",)]


@pytest.mark.parametrize("value", [1e-7, "0.0000000", 0.0000005])
def test_a_value_that_can_be_loaded_can_be_planned_with(tmp_path: Path, value: Any) -> None:
    load_files(EXAMPLES)

    load_files([a_file(tmp_path, **a_scenario(min_package_value=value))])

    assert Decimal(str(value)) in {
        rule.min_package_value for scenario in active_scenarios() for rule in scenario.rules
    }


def test_codes_skus_and_names_that_are_written_otherwise_are_the_same(tmp_path: Path) -> None:
    load_files(EXAMPLES)
    locations, stock = rows("SELECT id, code FROM locations ORDER BY id"), rows("SELECT count(*) FROM stock")
    name = "Marketplace orders leave from the  warehouses"
    rule = {"name": "r", "filters": {"locations": ["gebze-dc", " KADİKOY"], "types": ["STORE"]}}

    load_files(
        [
            a_file(
                tmp_path,
                locations=[{"code": " gebze-dc", "priority": 7}],
                stock=[{"sku": " RED-LAMP ", "location": "Gebze-Dc", "on_hand": 5}],
                scenarios=[{"name": name, "rules": [rule]}],
            )
        ]
    )

    assert rows("SELECT id, code FROM locations ORDER BY id") == locations
    assert rows("SELECT count(*) FROM stock") == stock
    assert rows("SELECT priority FROM locations WHERE code = 'GEBZE-DC'") == [(7,)]
    assert rows("SELECT on_hand FROM stock WHERE sku = 'RED-LAMP' AND location_id = 1") == [(5,)]
    assert rows("SELECT filters -> 'locations', filters -> 'types' FROM scenario_rules WHERE name = 'r'") == [
        (["GEBZE-DC", "KADIKOY"], ["store"])
    ]
    assert rows("SELECT count(*) FROM scenarios") == [(2,)]


def test_codes_that_an_earlier_release_kept_apart_are_changed_by_their_exact_name(tmp_path: Path) -> None:
    load_files(EXAMPLES)
    execute(
        "INSERT INTO locations (code, name, type) VALUES ('adana', 'x', 'store'), ('ADANA', 'x', 'store')"
    )

    load_files([a_file(tmp_path, locations=[{"code": "adana", "name": "y"}])])

    assert rows(
        "SELECT code, name FROM locations WHERE type = 'store' AND name IN ('x', 'y') ORDER BY code"
    ) == [
        ("ADANA", "x"),
        ("adana", "y"),
    ]
    with pytest.raises(LoadError, match="is 'Adana': may mean 'ADANA' or 'adana'; write one of them exactly"):
        load_files([a_file(tmp_path, locations=[{"code": "Adana", "name": "z"}])])
    with pytest.raises(LoadError, match=r"stock\.0\.location .*may mean 'ADANA' or 'adana'"):
        load_files([a_file(tmp_path, stock=[{"sku": "X", "location": "Adana", "on_hand": 1}])])


def test_a_file_of_three_thousand_locations_is_a_few_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_files(EXAMPLES)
    many = [{"code": f"S{n}", "name": f"Shop {n}", "type": "store", "priority": n % 9} for n in range(3_000)]
    stock = [{"sku": "RED-LAMP", "location": f"S{n}", "on_hand": n % 7} for n in range(3_000)]
    done: list[str] = []
    execute_sql = type(database).execute_sql

    def count(self: Any, sql: str, *arguments: Any, **options: Any) -> Any:
        done.append(sql)
        return execute_sql(self, sql, *arguments, **options)

    monkeypatch.setattr(type(database), "execute_sql", count)
    few = a_file(tmp_path, locations=many[:3], stock=stock[:3])
    load_files([few])
    of_three = len(done)
    load_files([a_file(tmp_path, locations=many, stock=stock)])
    changed = [{**place, "name": "Shop", "quota": 3} if n % 2 else place for n, place in enumerate(many)]
    load_files([a_file(tmp_path, locations=changed)])

    assert len(done) < 3 * of_three
    assert rows("SELECT count(*), count(quota), sum(priority)::int FROM locations WHERE code LIKE 'S%%'") == [
        (3_000, 1_500, sum(n % 9 for n in range(3_000)))
    ]
    assert rows(
        "SELECT sum(on_hand)::int FROM stock JOIN locations ON id = location_id WHERE code LIKE 'S%%'"
    ) == [(sum(n % 7 for n in range(3_000)),)]


def test_two_first_loads_at_once_follow_one_another(tmp_path: Path) -> None:
    scenarios = [{"name": f"scenario {n}", "rules": RULES} for n in range(60)]
    locations = [{"code": f"L{n}", "name": "L", "type": "store", "is_default": n == 0} for n in range(60)]
    file = a_file(tmp_path, locations=locations, scenarios=scenarios)
    together = Barrier(2)

    def load() -> dict[str, int]:
        together.wait()
        return load_files([file])

    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(load) for _ in range(2))

        assert first.result() == second.result()

    assert rows("SELECT count(*) FROM scenarios") == [(60,)]
    assert rows("SELECT count(*) FROM locations WHERE is_default") == [(1,)]
