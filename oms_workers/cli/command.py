"""`oms command`: what an operator does to a package or a transfer."""

import getpass
from typing import Annotated

import typer

from oms_workers.audit_events.door import name_of
from oms_workers.cli.output import print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.operation.services import answering
from oms_workers.packages.commands.registry import Request, commands, run_command
from oms_workers.reservations.discrepancies import Meaning


def command(
    package: Annotated[str, typer.Argument(help="The number of a package, or of a transfer.")] = "",
    name: Annotated[str, typer.Argument(metavar="COMMAND", help="Such as SHIP_THE_PACKAGE.")] = "",
    missing: Annotated[
        list[str] | None, typer.Option(metavar="SKU=UNITS", help="What of it the command is about.")
    ] = None,
    stock: Annotated[
        str, typer.Option(metavar="MEANING", help="What a rejection says of it: nothing, quantity or all.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Kept in the audit log.")] = "",
    version: Annotated[
        int | None,
        typer.Option(help="Only if the package still has this version, as `oms explain` shows it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run a command on a package or a transfer, as an operator would; without arguments, list the commands.

    Example: oms command P42-1 PRODUCT_NOT_FOUND_ADVANCED --missing RED-LAMP=1 --stock all
    """
    begin()
    if not package:
        _list(as_json=as_json)
        return
    if not name:
        raise typer.BadParameter(f"What is to be done with {package}? `oms command` lists the commands.")
    request = Request(
        missing=dict(_units(text) for text in missing or ()),
        meaning=_meaning(stock),
        reason=reason or None,
        version=version,
    )
    with answering("PostgreSQL"):
        state = run_command(package, name, request, actor=f"operator {getpass.getuser()}")
    if as_json:
        print_json({"number": package, "command": name, "state": state})
    else:
        print(f"{package} is {state}.")


def _list(*, as_json: bool) -> None:
    found = [
        {
            "command": known.name,
            "for": known.subject.value,
            "states": [name_of(state) for state in known.states],
            "does": known.summary,
        }
        for known in commands()
    ]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("command", "for a", "that is", "does"),
            [(line["command"], line["for"], ", ".join(line["states"]), line["does"]) for line in found],
        )


def _units(text: str) -> tuple[str, int]:
    sku, sign, units = text.rpartition("=")
    if not sign or not sku or not (units.isascii() and units.isdigit()) or int(units[:9]) == 0:
        raise typer.BadParameter(f"{text!r} is not SKU=UNITS, such as RED-LAMP=1")
    return sku, int(units)


def _meaning(text: str) -> Meaning | None:
    if not text:
        return None
    try:
        return Meaning(text)
    except ValueError:
        known = ", ".join(meaning.value for meaning in Meaning)
        raise typer.BadParameter(f"{text!r} is no meaning; there are {known}") from None
