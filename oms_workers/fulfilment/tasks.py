"""The scheduled operations of fulfilment."""

from datetime import timedelta

import dramatiq

from oms_workers.database import connection, database_now
from oms_workers.fulfilment.waiting import more_than_a_batch, plan_waiting_orders
from oms_workers.scheduling import process
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run

#: Helpers that a run with more than one batch asks for; with itself, the threads of a worker process.
HELPERS = 3

#: A helper leaves its thread soon, so that quicker tasks and the tick are never behind planning for long.
HELPER_BUDGET = timedelta(seconds=10)

#: Behind every scheduled task that waits for a thread.
HELPER_PRIORITY = 10


@scheduled("oms.fulfilment.tasks.fulfil_waiting_orders", budget=timedelta(minutes=5))
def fulfil_waiting_orders(run: Run) -> dict[str, int]:
    """Plan the orders that wait into packages, with the help of whatever worker has a thread to spare."""
    if more_than_a_batch():
        for _ in range(HELPERS):
            help_to_fulfil_waiting_orders.send()
    return plan_waiting_orders(run)


@dramatiq.actor(
    actor_name="oms.fulfilment.tasks.help_to_fulfil_waiting_orders",
    priority=HELPER_PRIORITY,
    max_retries=0,
    time_limit=120_000,
)
def help_to_fulfil_waiting_orders() -> None:
    """Plan for a short while, and pass the help on while there is more of it to do."""
    with connection():
        run = Run(database_now(), budget=HELPER_BUDGET, lost=process.lost)
    plan_waiting_orders(run)
    if run.stopped_by is not None and more_than_a_batch():
        help_to_fulfil_waiting_orders.send()
