"""`oms up`: everything on this machine, from nothing."""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

import settings
from oms_workers.cli.output import console
from oms_workers.cli.program import begin
from oms_workers.cli.view import arrange, look, sentence
from oms_workers.database import UNREACHABLE, connection, database, database_now
from oms_workers.errors import OmsError
from oms_workers.operation.health import Health
from oms_workers.operation.load_files import load_files
from oms_workers.operation.progress import count_orders, stranger
from oms_workers.operation.services import answering
from oms_workers.orders.models import Order
from oms_workers.reservations.models import Stock
from oms_workers.sandbox.guard import Guard
from oms_workers.sandbox.servers import EmbeddedPostgres, EmbeddedValkey, free_port
from oms_workers.sandbox.supervisor import Supervisor, read_procfile
from oms_workers.scheduling import ledger, table
from oms_workers.sets import exists

#: What the demonstration does more often than a merchant would, so that a minute shows something.
IMPATIENCE = {
    "OMNITRON_ORDERS_SCHEDULE": "5",
    "FULFIL_WAITING_ORDERS_SCHEDULE": "5",
    "FULFIL_REPLANNING_ORDERS_SCHEDULE": "10",
    "RENEW_OUT_OF_STOCK_PACKAGES_SCHEDULE": "30",
    "RENEW_OUT_OF_STOCK_TRANSFERS_SCHEDULE": "10",
    "DAILY_CLEAR_INVENTORY_DISCREPANCIES_SCHEDULE": "30",
    "DB_MAINTENANCE_SCHEDULE": "30",
    "ARCHIVE_OLD_AUDIT_EVENTS_SCHEDULE": "30",
    "UPDATE_ORDER_EXECUTION_PLAN_CONTEXT_SCHEDULE": "30",
    "TICK_SECONDS": "10",
}

PROJECT = Path(settings.__file__).parent
_REFRESH_SECONDS = 0.5
_LINE_SECONDS = 5.0


class UpError(OmsError):
    """`oms up` cannot start, or its orders did not move."""


def up(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stop after so many seconds, with status 0 if orders moved.")
    ] = None,
) -> None:
    """Run servers, sandbox, clock and workers here, and show orders becoming packages. Ctrl-C stops it all.

    PostgreSQL and Valkey come from wheels and keep their data in .oms/, unless DATABASE_URL and REDIS_URL
    are set. The orders are those of a stand-in Omnitron.

    Example: oms up --seconds 60
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as running:
        running.enter_context(_only_one())
        is_given = "DATABASE_URL" in settings.environment()
        guard = Guard()
        running.callback(guard.dismiss)
        environment = _servers(running, guard)
        _configure(environment, guard)
        with answering("PostgreSQL"):
            supervisor = _start(running, environment, guard, is_given=is_given)
            with connection():
                since = database_now()
            before, after = _watch(supervisor, stop, seconds)
            ran = tasks_that_ran(since)
        moved = {name: after[name] - before[name] for name in ("pulled", "planned")}
        print(ran, sentence(after), sep="\n")
    if seconds is not None and not stop.is_set() and not all(moved.values()):
        raise UpError(f"Orders did not move within {seconds:.0f} s: {moved}. The logs are in {_logs()}.")


@contextmanager
def _only_one() -> Iterator[None]:
    """The place of this checkout's one `oms up`: a lock that goes with it, however it ends."""
    settings.LOCAL_DIRECTORY.mkdir(exist_ok=True)
    with (settings.LOCAL_DIRECTORY / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(f"Another `oms up` is running here{_its_pid()}; stop it first.") from None
        # What one that was killed with its guard has left is nobody's.
        settings.LOCAL_SERVERS.unlink(missing_ok=True)
        try:
            yield
        finally:
            settings.LOCAL_SERVERS.unlink(missing_ok=True)


def _its_pid() -> str:
    try:
        return f", with the pid {json.loads(settings.LOCAL_SERVERS.read_text())['pid']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _servers(running: ExitStack, guard: Guard) -> dict[str, str]:
    """The environment of all that is started, with the servers that were given or are started now."""
    given = settings.environment()
    environment = {**os.environ, **{name: given.get(name, value) for name, value in IMPATIENCE.items()}}
    for key in settings.TASK_KEYS:
        if f"{key}_CRONTAB" in given:
            environment.pop(f"{key}_SCHEDULE", None)
    if "DATABASE_URL" not in given:
        environment["DATABASE_URL"] = _start_postgres(running, guard)
    if "REDIS_URL" not in given:
        environment["REDIS_URL"] = _start_valkey(running, guard)
    port = free_port()
    return {**environment, "OMNITRON_URL": f"http://127.0.0.1:{port}", "OMNITRON_TOKEN": "sandbox"}


def _start_postgres(running: ExitStack, guard: Guard) -> str:
    server = EmbeddedPostgres(settings.LOCAL_DIRECTORY.resolve() / "pg").start()
    running.callback(server.stop)
    guard.watch_server(server.pid)
    return server.url


def _start_valkey(running: ExitStack, guard: Guard) -> str:
    server = EmbeddedValkey(settings.LOCAL_DIRECTORY.resolve() / "valkey").start()
    running.callback(server.stop)
    guard.watch_server(server.pid)
    return server.url


def _configure(environment: dict[str, str], guard: Guard) -> None:
    """Make this process see what its children see, and tell other terminals."""
    os.environ.update(environment)
    begin()
    shared = ("DATABASE_URL", "REDIS_URL", "OMNITRON_URL", "OMNITRON_TOKEN", *IMPATIENCE)
    servers = {"pid": os.getpid(), **{name: environment[name] for name in shared if name in environment}}
    guard.watch_file(settings.LOCAL_SERVERS)
    settings.LOCAL_SERVERS.touch(mode=0o600)
    settings.LOCAL_SERVERS.write_text(json.dumps(servers))


def _start(running: ExitStack, environment: dict[str, str], guard: Guard, *, is_given: bool) -> Supervisor:
    """Migrate, load the examples, and start the Procfile's processes beside the sandbox."""
    commands = read_procfile(PROJECT / "Procfile")
    supervisor = Supervisor(environment, directory=PROJECT, logs=_logs(), guard=guard)
    if is_given:
        _refuse_strangers()
    if supervisor.run("release", commands.pop("release")) != 0:
        raise UpError(f"The release phase failed:\n{supervisor.log('release')}")
    load_files(_examples())
    port = environment["OMNITRON_URL"].rpartition(":")[2]
    running.callback(supervisor.end)
    sandbox = {
        "omnitron": f"python -m oms_workers.sandbox.omnitron --port {port}",
        "warehouse": "python -m oms_workers.sandbox.warehouse",
    }
    supervisor.start({**sandbox, **commands})
    # Before the sandbox: a worker that drains still asks the hub.
    running.callback(supervisor.stop, *commands)
    return supervisor


def _examples() -> list[Path]:
    """The examples' files; their count of stock is older than what stands there after an earlier start."""
    files = sorted((PROJECT / "examples").glob("*.json"))
    with connection():
        is_counted = exists(Stock.select(Stock.sku))
    return [file for file in files if not (is_counted and file.name == "stock.json")]


def _refuse_strangers() -> None:
    """The sandbox's orders must not be mixed with a merchant's, nor the examples with what one has loaded."""
    examples = json.loads((PROJECT / "examples" / "locations.json").read_text())["locations"]
    codes = [location["code"] for location in examples]
    with connection():
        found = stranger(codes) if database.table_exists(Order) else None
    if found is not None:
        raise UpError(
            f"The database at DATABASE_URL holds {found}, which is not the sandbox's; give `oms up` a"
            " database of its own."
        )


def _watch(
    supervisor: Supervisor, stop: threading.Event, seconds: float | None
) -> tuple[dict[str, int], dict[str, int]]:
    """Show what happens until it is time to stop; the counts of orders at the start and at the end."""
    terminal = console()
    with connection():
        before = count_orders()
    deadline = time.monotonic() + (seconds or float("inf"))
    health = Health(stop).start()
    with Live(console=terminal, auto_refresh=False, transient=False) as live:
        spoken_at = 0.0
        while time.monotonic() < deadline and not stop.is_set():
            try:
                with connection():
                    if terminal.is_terminal:
                        picture = look(health.findings(), _footer(supervisor), height=terminal.height)
                        shown = arrange(picture, width=terminal.width, height=terminal.height)
                        live.update(shown, refresh=True)
                    elif time.monotonic() - spoken_at >= _LINE_SECONDS:
                        spoken_at = time.monotonic()
                        print("\n".join([sentence(count_orders()), *health.findings()]), flush=True)
            except UNREACHABLE:
                print("PostgreSQL does not answer.", file=sys.stderr)
            stop.wait(_REFRESH_SECONDS)
    with connection():
        return before, count_orders()


def tasks_that_ran(since: datetime) -> str:
    """A sentence that says how many of the enabled tasks ran since then, and which did not."""
    enabled = [task for task in table.tasks() if task.enabled]
    with connection():
        last = {task.name: ledger.last_run(task.path) for task in enabled}
    idle = [name for name, run in last.items() if run is None or (run.started_at or since) <= since]
    said = f"{len(enabled) - len(idle)} of {len(enabled)} tasks ran"
    return f"{said}; these did not: {', '.join(idle)}." if idle else f"{said}."


def _footer(supervisor: Supervisor) -> str:
    restarts = len(supervisor.exits)
    return f"in another terminal: oms status; {restarts} restart(s) so far; logs in {_logs()}"


def _logs() -> Path:
    return settings.LOCAL_DIRECTORY.resolve() / "logs"
