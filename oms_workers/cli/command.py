"""`oms command`: what an operator does to a package or a transfer."""

from collections.abc import Iterable
from typing import Annotated

import typer

from oms_workers.audit_events.door import name_of
from oms_workers.cli.arguments import text
from oms_workers.cli.operators import operator
from oms_workers.cli.output import print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.configuration.problems import shown
from oms_workers.operation.services import answering
from oms_workers.packages.commands.registry import Request, commands, run_command
from oms_workers.reservations.models import Meaning

PackageArgument = Annotated[
    str | None, typer.Argument(help="The number of a package, or of a transfer.", callback=text("PACKAGE"))
]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="COMMAND", help="Such as SHIP_THE_PACKAGE.", callback=text("COMMAND"))
]
MissingOption = Annotated[
    list[str] | None,
    typer.Option(metavar="SKU=UNITS", help="What of it the command is about; may be repeated."),
]
StockOption = Annotated[
    str | None,
    typer.Option(
        metavar="MEANING",
        help="What a rejection says of it: nothing, quantity or all.",
        callback=text("--stock"),
    ),
]
ReasonOption = Annotated[str | None, typer.Option(help="Kept in the audit log.", callback=text("--reason"))]
VersionOption = Annotated[
    int | None, typer.Option(help="Only if the package still has this version, as `oms explain` shows it.")
]


def command(
    package: PackageArgument = None,
    name: NameArgument = None,
    missing: MissingOption = None,
    stock: StockOption = None,
    reason: ReasonOption = None,
    version: VersionOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run a command on a package or a transfer, as an operator would; without arguments, list the commands.

    An option that the command does not take is refused, and then nothing is done.

    Example: oms command P42-1 PRODUCT_NOT_FOUND_ADVANCED --missing RED-LAMP=1 --stock all
    """
    request = Request(
        missing=_missing(missing or ()), meaning=_meaning(stock), reason=reason, version=version
    )
    if package is None:
        _refuse_options_alone(request)
    elif name is None:
        raise typer.BadParameter(f"What is to be done with {package}? `oms command` lists the commands.")
    begin()
    if package is None or name is None:
        _list(as_json=as_json)
        return
    with answering("PostgreSQL"):
        state = run_command(package, name, request, actor=operator())
    if as_json:
        print_json({"number": package, "command": name, "state": state})
    else:
        print(f"{package} is {state}.")


def _refuse_options_alone(request: Request) -> None:
    """Without a package nothing is done, and an option says that something was meant."""
    given: list[str] = [*request.options]
    given += ["--reason"] * (request.reason is not None) + ["--version"] * (request.version is not None)
    if given:
        raise typer.BadParameter(f"Which package? {given[0]} was given without one.")


def _list(*, as_json: bool) -> None:
    found = [
        {
            "command": known.name,
            "for": known.subject.value,
            "states": [name_of(state) for state in known.states],
            "takes": [option.value for option in known.takes],
            "does": known.summary,
        }
        for known in commands()
    ]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("command", "for a", "that is", "takes", "does"),
            [
                (
                    line["command"],
                    line["for"],
                    ", ".join(line["states"]),
                    ", ".join(line["takes"]),
                    line["does"],
                )
                for line in found
            ],
        )


def _missing(texts: Iterable[str]) -> dict[str, int]:
    units: dict[str, int] = {}
    for given in texts:
        sku, count = _units(given)
        if sku in units:
            raise typer.BadParameter(f"--missing: {sku!r} is given twice; give the sum of its units once.")
        units[sku] = count
    return units


def _units(given: str) -> tuple[str, int]:
    sku, sign, units = given.rpartition("=")
    digits = units.lstrip("0")
    if not sign or not sku.strip() or not (units.isascii() and units.isdigit() and 0 < len(digits) < 10):
        raise typer.BadParameter(f"{shown(given)} is not SKU=UNITS, such as RED-LAMP=1")
    text("--missing")(sku)
    return sku, int(digits)


def _meaning(given: str | None) -> Meaning | None:
    if given is None:
        return None
    try:
        return Meaning(given)
    except ValueError:
        known = ", ".join(meaning.value for meaning in Meaning)
        raise typer.BadParameter(f"{shown(given)} is no meaning; there are {known}") from None
