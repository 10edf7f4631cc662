from datetime import timedelta

from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run


@scheduled("oms.orders.tasks.get_orders_from_omnitron", queue="omnitron", budget=timedelta(minutes=5))
def get_orders_from_omnitron(run: Run) -> dict[str, int]:
    return {"stored": 0}
