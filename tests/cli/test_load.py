"""`oms load`: a merchant's files."""

import json
import os
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oms_workers.cli.app import app
from oms_workers.database import rows
from oms_workers.errors import ArgumentError
from tests.examples import FILES


def test_load_adds_and_changes_nothing_twice(oms) -> None:
    assert oms("load", *FILES).exit_code == 0
    levels = "SELECT sku, location_id, on_hand, reserved, safety FROM stock ORDER BY sku, location_id"
    before = rows(levels)
    moved = rows("SELECT count(*) AS n, sum(quantity) AS units FROM stock_movements")[0]
    assert moved.units == sum(line.on_hand for line in before)

    assert oms("load", *FILES).exit_code == 0

    assert rows(levels) == before
    assert rows("SELECT count(*) AS n, sum(quantity) AS units FROM stock_movements")[0] == moved
    assert rows("SELECT count(*) AS n FROM scenario_rules")[0].n == 6


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "merchant.json"),
        ('{"shops": []}', "shops"),
        ('{"locations": [{"code": "A", "name": "A", "type": "store", "priorty": 1}]}', "locations.0.priorty"),
        ('{"stock": [{"sku": "A", "location": "NOWHERE", "on_hand": 1}]}', "NOWHERE"),
        (
            '{"scenarios": [{"name": "x", "rules": [{"name": "r", "ranking": ["luck"]}]}]}',
            "'luck' is no ranking",
        ),
        ('{"scenarios": [{"name": "x", "conditions": {"weather": ["sun"]}}]}', "'weather' is no condition"),
        (
            '{"scenarios": [{"name": "x", "rules": [{"name": "r", "mode": "best"}]}]}',
            "scenarios.0.rules.0.mode",
        ),
    ],
)
def test_load_refuses_by_name_and_writes_nothing(oms, tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "merchant.json"
    file.write_text(content)

    ended = oms("load", *FILES, str(file))

    assert ended.exit_code == 1
    assert named in str(ended.exception)
    assert rows("SELECT count(*) AS n FROM locations")[0].n == 0


BURSA = {"code": "BURSA", "name": "Bursa", "type": "store", "is_default": True}


def test_load_reads_standard_input(oms, tmp_path: Path) -> None:
    runner, content = CliRunner(), json.dumps({"locations": [BURSA]})

    assert runner.invoke(app, ["load", "-"], input=content).exit_code == 0
    refused = runner.invoke(app, ["load", "-"], input='{"locations": [{"code": ""}]}')

    assert rows("SELECT code FROM locations") == [("BURSA",)]
    assert "standard input: locations.0.code" in str(refused.exception)
    assert "named twice" in str(runner.invoke(app, ["load", "-", "-"], input=content).exception)


def test_load_reads_what_a_shell_puts_in_a_pipe(oms, tmp_path: Path) -> None:
    pipe = tmp_path / "locations"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(Path(FILES[0]).read_text()))
    writer.start()

    ended = oms("load", str(pipe))
    writer.join()

    assert ended.exit_code == 0, ended.output


def test_a_file_that_is_named_twice_is_a_wrong_argument(oms) -> None:
    ended = oms("load", FILES[0], FILES[0])

    assert isinstance(ended.exception, ArgumentError)
