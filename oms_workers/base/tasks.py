"""The scheduled operation on the database itself."""

from datetime import timedelta
from typing import Any

import settings
from oms_workers.base.maintenance import maintain
from oms_workers.base.sizes import DB_MAINTENANCE, measure
from oms_workers.database import connection
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run


@scheduled(DB_MAINTENANCE, budget=timedelta(minutes=30))
def db_maintenance(run: Run) -> dict[str, Any]:
    """Vacuum and analyze the tables that change most, and measure how ours grow."""
    found = maintain(run, settings.current().db_maintenance_tables.split(","))
    with connection():
        measure(run.now)
    return found
