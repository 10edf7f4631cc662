"""Connections do not pass a fork.

A forked child has its parent's sockets too. While it lives, PostgreSQL would take a killed parent for alive,
and its locks would be held. What the child writes or closes would reach the parent's session.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

#: The connections of this process to PostgreSQL.
_connections: "WeakSet[Any]" = WeakSet()

#: What else a forked child does first.
_steps: list[Callable[[], None]] = []

_registered = False


def keep_from_children(connection: Any) -> None:
    """A process that is forked from now on does not have this connection. Its `fileno()` is its socket."""
    global _registered
    if not _registered:
        os.register_at_fork(after_in_child=_part)
        _registered = True
    _connections.add(connection)


def in_child(step: Callable[[], None]) -> None:
    """Do this in each forked child, before anything else."""
    if step not in _steps:
        _steps.append(step)


def _part() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for connection in [*_connections]:
        # A connection that is closed already has no socket. The number stays taken, so that nothing which
        # the child opens later gets what libpq still writes at its end.
        with suppress(Exception):
            os.dup2(nowhere, connection.fileno(), inheritable=False)
    os.close(nowhere)
    for step in _steps:
        step()
