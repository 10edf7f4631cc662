"""Late stock: skus of which more has come, told to whoever plans what waits for them.

A room above registers who is told:

    tell_of_rises(send_for_late_stock)

It is told once for each transaction, after its commit. What it sends is a hint: losing it changes nothing.
"""

from collections.abc import Callable, Iterable

from oms_workers.database import after_commit
from oms_workers.errors import OmsError

Listener = Callable[[frozenset[str]], None]

_listeners: list[Listener] = []


class DoubleRiseListenerError(OmsError):
    """One function is told of rises twice."""


def tell_of_rises(listener: Listener) -> None:
    """Call this function after each commit that has raised stock. Raises `DoubleRiseListenerError`."""
    if listener in _listeners:
        raise DoubleRiseListenerError(f"{listener.__qualname__} is told of rises twice; register it once.")
    _listeners.append(listener)


def note_rise(skus: Iterable[str]) -> None:
    """Remember in the caller's transaction that more of these skus may be available when it is committed."""
    after_commit(_tell, skus)


def _tell(skus: frozenset[str]) -> None:
    for listener in _listeners:
        listener(skus)
