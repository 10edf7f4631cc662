"""A statement that takes minutes ends soon when its run has to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from oms_workers.scheduling.run import Run

#: How often it is asked whether the run has to stop; a process that is told to has some 25 s.
_LOOK_SECONDS = 0.5


@contextmanager
def interrupted_by(run: Run, session: psycopg.Connection[Any]) -> Iterator[None]:
    """Cancel what the session does in this block, once the run has to stop."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            if run.should_stop():
                with suppress(psycopg.Error):
                    session.cancel_safe(timeout=5.0)

    watcher = threading.Thread(target=watch, name="interruption", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
