"""The scheduled operations on orders."""

import logging
from datetime import timedelta
from typing import Any

import settings
from oms_workers.orders.client import Omnitron, OmnitronRefusedError
from oms_workers.orders.pull import pull
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run, waiting_for

logger = logging.getLogger(__name__)


@scheduled("oms.orders.tasks.get_orders_from_omnitron", queue="omnitron", budget=timedelta(minutes=5))
def get_orders_from_omnitron(run: Run) -> dict[str, Any]:
    """Pull the approved orders that Omnitron has for us, store them, and say that we have them.

    Where Omnitron refuses our credentials, there is nothing to retry: the run says so and the next one waits
    too, until a person sets others.
    """
    configuration = settings.current()
    with Omnitron(configuration, run.wait) as client:
        try:
            return pull(client, run, concurrency=configuration.omnitron_concurrency)
        except OmnitronRefusedError as error:
            logger.warning("No order is pulled: %s", error)
            return waiting_for(str(error))
