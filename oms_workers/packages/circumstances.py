"""Who acts on packages, when, and what the configuration says about the consequences."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import settings
from oms_workers.audit_events.door import Door


@dataclass(frozen=True)
class Circumstances:
    """One transaction's work on packages: through which door, and with which consequences.

    `exclusion` is for how long a line does not return to a location that has rejected it, and
    `discrepancy_lifetime` how long a rejection keeps stock from being promised.
    """

    door: Door
    exclusion: timedelta
    discrepancy_lifetime: timedelta

    @property
    def at(self) -> datetime:
        return self.door.at


@contextmanager
def acting(actor: str, at: datetime) -> Iterator[Circumstances]:
    """Open the door for one transaction's work, with what this process is configured to make of it."""
    lifetime = timedelta(seconds=settings.current().inventory_discrepancy_expiry_seconds)
    with Door(actor, at) as door:
        yield Circumstances(door, exclusion_of_locations(), lifetime)


def exclusion_of_locations() -> timedelta:
    """For how long a location is not asked again for what it has rejected, or could not send."""
    return timedelta(seconds=settings.current().location_exclusion_seconds)
