from datetime import timedelta

from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run


@scheduled("oms.fulfilment.tasks.fulfil_waiting_orders", budget=timedelta(minutes=5))
def fulfil_waiting_orders(run: Run) -> dict[str, int]:
    return {"planned": 0}
