"""The packages that wait, one by one, each with the reason; the longest waiting first."""

from datetime import datetime
from typing import Any, NamedTuple

from peewee import JOIN

from oms_workers.audit_events.latest import latest_event, said_reason
from oms_workers.backlog import first_rows
from oms_workers.orders.models import Order
from oms_workers.packages.models import FINAL_STATES, UNPLANNED_STATES, Package, PackageState
from oms_workers.packages.states import PACKAGE
from oms_workers.reservations.models import Location
from oms_workers.sets import among, fetch

#: The states that can be listed: a package in any other one waits for nothing.
LISTED_STATES = tuple(state for state in PackageState if state not in FINAL_STATES)

#: Why a package waits for another plan, by what happened to it last, where nobody gave a reason.
_WHY_UNPLANNED = {
    "created": "no rule could place its items",
    "rejected": "its location rejected it",
    "short_of_stock": "a count has left too little stock for it",
    "given_up": "REPLAN_MAX_ATTEMPTS attempts brought nothing",
}


class ListedPackage(NamedTuple):
    """A package that waits, and the newest thing that happened to it; `total` is how many there are."""

    number: str
    order_number: str
    location: str
    state: PackageState
    version: int
    replan_attempts: int
    changed_at: datetime
    action: str | None
    content: dict[str, Any] | None
    total: int

    @property
    def reason(self) -> str:
        """Why it waits: what was said, or what the newest event means."""
        said = said_reason(self.content)
        if said or self.state not in UNPLANNED_STATES:
            return said or ""
        return _WHY_UNPLANNED.get(self.action or "", "")


def waiting_packages(state: PackageState, *, since: datetime | None, limit: int) -> list[ListedPackage]:
    """The first packages in a state of `LISTED_STATES` that came into it at or after `since`.

    By the indexes packages_state and packages_unplanned.
    """
    came = [Package.changed_at >= since] if since is not None else []
    order = (Package.changed_at, Package.id)
    page = first_rows(Package, order, among(Package.state, [state]), *came, limit=limit)
    event = latest_event(PACKAGE)
    query = (
        Package.select(
            Package.number,
            Order.number.alias("order_number"),
            Location.code.alias("location"),
            Package.state,
            Package.version,
            Package.replan_attempts,
            Package.changed_at,
            event.c.action,
            event.c.content,
            page.c.total,
        )
        .join(page, on=page.c.id == Package.id)
        .join_from(Package, Order)
        .join_from(Package, Location)
        .join_from(Package, event, JOIN.LEFT_LATERAL, on=True)
        .order_by(page.c.position)
    )
    return fetch(query, ListedPackage)
