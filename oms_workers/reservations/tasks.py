"""The scheduled operations on reservations."""

from datetime import timedelta

import settings
from oms_workers.database import connection
from oms_workers.reservations.discrepancies import clear
from oms_workers.reservations.retention import CLEAR_INVENTORY_DISCREPANCIES
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run


@scheduled(CLEAR_INVENTORY_DISCREPANCIES, budget=timedelta(minutes=5))
def clear_inventory_discrepancies(run: Run) -> dict[str, int]:
    """Release the discrepancies that keep stock from being promised, once they have had their time."""
    minimum_age = timedelta(seconds=settings.current().inventory_discrepancy_min_age)
    with connection():
        return clear(run, minimum_age=minimum_age, reason=CLEAR_INVENTORY_DISCREPANCIES)
