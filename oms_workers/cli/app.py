"""The `oms` command: what an operator asks and does, one file a command."""

import sys
from typing import Annotated

import typer

import settings
from oms_workers import __version__
from oms_workers.cli import (
    audit,
    check,
    command,
    explain,
    load,
    migrate,
    orders,
    packages,
    reconcile,
    rejects,
    release,
    replan,
    run,
    runs,
    schedules,
    status,
    up,
)
from oms_workers.cli.arguments import EachOptionOnce
from oms_workers.errors import ArgumentError, OmsError

app = typer.Typer(
    cls=EachOptionOnce,
    name="oms",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check.check)
app.command("schedules")(schedules.schedules)
app.command("migrate")(migrate.migrate)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("runs")(runs.runs)
app.command("orders")(orders.orders)
app.command("packages")(packages.packages)
app.command("load")(load.load)
app.command("explain")(explain.explain)
app.command("audit")(audit.audit)
app.command("command")(command.command)
app.command("rejects")(rejects.rejects)
app.command("release")(release.release)
app.command("replan")(replan.replan)
app.command("reconcile")(reconcile.reconcile)
app.command("up")(up.up)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        print(f"oms-workers {__version__}")
        raise typer.Exit


@app.callback()
def oms(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """The scheduled operations of an order management system."""


def main() -> None:
    """Run the command line; an error that an operator can mend is one sentence and status 1."""
    try:
        app()
    except OmsError as error:
        print(error, file=sys.stderr)
        sys.exit(settings.EXIT_MISCONFIGURED if isinstance(error, ArgumentError) else 1)
    except settings.SettingsError as error:
        settings.exit_misconfigured(error)
    except KeyboardInterrupt:
        sys.exit(130)
