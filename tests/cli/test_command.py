"""`oms command`: commands on packages and transfers."""

import json
import sys

import pytest

from oms_workers.cli.app import main
from oms_workers.database import rows


def test_command_runs_a_command_and_says_what_came_of_it(oms, package: str) -> None:
    ended = oms("command", package, "START_PREPARING")
    assert (ended.exit_code, ended.output) == (0, "P1-1 is preparing.\n")

    shown = oms(
        "command",
        package,
        "PRODUCT_NOT_FOUND_ADVANCED",
        "--missing",
        "RED-LAMP=1",
        "--stock",
        "all",
        "--reason",
        "the shelf is empty",
        "--json",
    )

    assert json.loads(shown.output) == {
        "number": package,
        "command": "PRODUCT_NOT_FOUND_ADVANCED",
        "state": "preparing",
    }
    (event,) = rows("SELECT actor, content FROM audit_events WHERE action = 'parted'")
    assert event.actor.startswith("operator:")
    assert event.content["reason"] == "the shelf is empty"


def test_command_without_arguments_lists_the_commands(oms) -> None:
    found = {line["command"]: line for line in json.loads(oms("command", "--json").output)}

    assert found["SHIP_THE_PACKAGE"]["states"] == ["packed"]
    assert found["DELIVER_TRANSFER"]["for"] == "transfer"
    assert "SHIP_THE_PACKAGE" in oms("command").output


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (
            ["P1-1", "SHIP_THE_PACKAGE"],
            1,
            "SHIP_THE_PACKAGE is for a package that is packed, and P1-1 is waiting",
        ),
        (["P9-9", "SHIP_THE_PACKAGE"], 1, "No package has the number 'P9-9'"),
        (["P1-1", "FLY"], 2, "No command is called 'FLY'. There are: BLOCK, CANCEL"),
        (["P1-1"], 2, "What is to be done with P1-1?"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP"], 2, "is not SKU=UNITS"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP=0"], 2, "is not SKU=UNITS"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP=9"], 1, "9 of 'RED-LAMP' cannot be missing"),
        (["P1-1", "PRODUCT_NOT_FOUND", "--stock", "some"], 2, "'some' is no meaning"),
        (["P1-1", "CANCEL", "--missing", "RED-LAMP=1"], 2, "CANCEL does not take --missing"),
        (["P1-1", "BLOCK", "--stock", "all"], 2, "BLOCK does not take --stock"),
        (["P1-1", "PRODUCT_NOT_FOUND_ADVANCED"], 2, "PRODUCT_NOT_FOUND_ADVANCED needs --missing"),
        (
            ["P1-1", "PRODUCT_NOT_FOUND", "--missing", "RED-LAMP=1", "--missing", "RED-LAMP=1"],
            2,
            "'RED-LAMP' is given twice",
        ),
        (["P1-1", "PRODUCT_NOT_FOUND", "--missing", f"RED-LAMP={'9' * 5000}"], 2, "is not SKU=UNITS"),
        (["P1-1", "REFUSE", "--stock", "all", "--stock", "nothing"], 2, "--stock is given 2 times"),
        (["P1-1", "CANCEL", "--reason", "a", "--reason", "b"], 2, "--reason is given 2 times"),
        (["P1-1", "REFUSE", "--stock", ""], 2, "--stock is empty; is it a shell variable that is not set?"),
        (["P1-1", "CANCEL", "--reason", " "], 2, "--reason is empty"),
        (["P1-1", "CANCEL", "--reason", "a\0b"], 2, "--reason holds a sign that no text has"),
        (["", "CANCEL"], 2, "PACKAGE is empty; is it a shell variable that is not set?"),
        (["", ""], 2, "PACKAGE is empty"),
        ([""], 2, "PACKAGE is empty"),
        (["P1-1", ""], 2, "COMMAND is empty"),
        (["P1-1\udcff", "CANCEL"], 2, "PACKAGE holds a sign that no text has"),
        (["--missing", "RED-LAMP=1"], 2, "Which package? --missing was given without one"),
        (["--reason", "sold out"], 2, "Which package? --reason was given without one"),
    ],
)
def test_command_says_what_is_wrong_and_changes_nothing(
    oms,
    package: str,
    arguments: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = rows("SELECT state, version FROM packages")
    monkeypatch.setattr(sys, "argv", ["oms", "command", *arguments])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == status
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in shown
    assert rows("SELECT state, version FROM packages") == before


def test_the_list_of_commands_says_which_options_each_takes(oms) -> None:
    found = {line["command"]: line["takes"] for line in json.loads(oms("command", "--json").output)}

    assert found["PRODUCT_NOT_FOUND"] == ["--missing", "--stock"]
    assert found["TRANSFER_OUT_OF_STOCK"] == ["--stock"]
    assert found["CANCEL"] == []
    assert "--missing, --stock" in " ".join(oms("command").output.split())
