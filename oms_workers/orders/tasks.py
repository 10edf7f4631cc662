"""The scheduled operations on orders."""

from datetime import timedelta
from typing import Any

import settings
from oms_workers.orders.client import Omnitron
from oms_workers.orders.pull import pull
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run


@scheduled("oms.orders.tasks.get_orders_from_omnitron", queue="omnitron", budget=timedelta(minutes=5))
def get_orders_from_omnitron(run: Run) -> dict[str, Any]:
    """Pull the approved orders that Omnitron has for us, store them, and say that we have them."""
    configuration = settings.current()
    with Omnitron(configuration, run.wait) as client:
        return pull(client, run, concurrency=configuration.omnitron_concurrency)
