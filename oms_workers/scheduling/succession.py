"""Which of a task's configurations is in effect: a pure decision, in which the newer one wins.

A configuration is a task's cadence, and whether the task is enabled. Each one that is known has a generation.
It gets the next one when `oms migrate` announces it, or when a process runs it that nobody has known before.
So a configuration is newer by what it is. It does not become newer when a process that has it starts again.

A configuration takes effect when a process runs it and its generation is higher than that of the one in
effect. `oms migrate` alone puts nothing in effect where there is one already, since a release may be refused.

A deployment may go back to an earlier configuration without `oms migrate`. Then the earlier one takes effect
when it has been seen for `REPLACED_AFTER`, at least every `REPLACED_AFTER / 2`, and the newer one has not.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

#: Old and new processes of a deploy run side by side for less.
REPLACED_AFTER = timedelta(minutes=10)


class Standing(NamedTuple):
    """A configuration's generation, when a process last said that it runs it, and since when without the
    newer one."""

    generation: int
    last_seen: datetime | None
    alone_since: datetime | None


def alone_since(own: Standing, newest: Standing | None, now: datetime) -> datetime:
    """Since when the older configuration is seen without the newest one, if it is seen now.

    An outage in which nobody is seen begins the time anew: it says nothing about who runs after it.
    """
    if own.alone_since is None or own.last_seen is None or now - own.last_seen > REPLACED_AFTER / 2:
        return now
    if newest is not None and newest.last_seen is not None and newest.last_seen >= own.alone_since:
        return now
    return own.alone_since


def takes_effect(generation: int, in_effect: int, alone_since: datetime, now: datetime) -> bool:
    """Whether a configuration that a process runs takes effect, or stays in effect."""
    return generation >= in_effect or now - alone_since >= REPLACED_AFTER
