"""The scheduled operations of fulfilment."""

from datetime import datetime, timedelta

import settings
from oms_workers.broker import job
from oms_workers.database import connection, database_now
from oms_workers.fulfilment.first_planning import more_than_a_batch, plan_waiting_orders, wants_help
from oms_workers.fulfilment.late_stock import send_for_late_stock
from oms_workers.fulfilment.plan_context import refresh_contexts
from oms_workers.fulfilment.replanning import replan_packages
from oms_workers.fulfilment.transfer_replanning import RETRY_OUT_OF_STOCK_TRANSFERS, replan_transfers
from oms_workers.fulfilment.waits import limit_waits
from oms_workers.packages.ended_waits import cancel_ended_waits
from oms_workers.packages.models import UNPLANNED_STATES, PackageState
from oms_workers.packages.shortfalls import relieve_shortfalls
from oms_workers.scheduling import process
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run

#: The misspelling is the operators' own, and part of the name that they know.
FULFIL_REPLANNING_ORDERS = "oms.fulfilment.tasks.fulfil_replaning_orders"
RETRY_OUT_OF_STOCK_PACKAGES = "oms.fulfilment.tasks.retry_out_of_stock_packages"
PLAN_LATE_STOCK = "oms.fulfilment.tasks.plan_late_stock"

#: Helpers that a run with more than one batch asks for; with itself, the threads of a worker process.
HELPERS = 3

#: A helper leaves its thread soon, so that quicker tasks and the tick are never behind planning for long.
HELPER_BUDGET = timedelta(seconds=10)

#: Behind every scheduled task that waits for a thread.
HELPER_PRIORITY = 10


@scheduled("oms.fulfilment.tasks.fulfil_waiting_orders", budget=timedelta(minutes=5))
def fulfil_waiting_orders(run: Run) -> dict[str, int]:
    """Plan the orders that wait into packages, with the help of whatever worker has a thread to spare."""
    if wants_help():
        for _ in range(HELPERS):
            help_to_fulfil_waiting_orders.send()
    return plan_waiting_orders(run)


@job("oms.fulfilment.tasks.help_to_fulfil_waiting_orders", priority=HELPER_PRIORITY, time_limit=120_000)
def help_to_fulfil_waiting_orders() -> None:
    """Plan for a short while, and pass the help on while there is more of it to do."""
    with connection():
        run = Run(database_now(), budget=HELPER_BUDGET, lost=process.lost)
    plan_waiting_orders(run)
    if run.stopped_by is not None and more_than_a_batch():
        help_to_fulfil_waiting_orders.send()


@job(PLAN_LATE_STOCK, time_limit=120_000)
def plan_late_stock(skus: list[str], slot: str | None = None) -> None:
    """Plan the packages that wait for skus which have just come, the most urgent first.

    `slot` is the time of the first message, so that the messages that go on try no package twice.
    """
    with connection():
        began = None if slot is None else datetime.fromisoformat(slot)
        run = Run(database_now(), budget=HELPER_BUDGET, slot=began, lost=process.lost)
    # The tasks on schedule say when a package has been tried often enough.
    replan_packages(run, UNPLANNED_STATES, actor=PLAN_LATE_STOCK, max_attempts=0, skus=skus)
    if run.stopped_by is not None:
        plan_late_stock.send(skus, run.slot.isoformat())


def send_late_stock(skus: frozenset[str]) -> None:
    """Ask the workers to plan what waits for these skus; told after each commit that has raised stock."""
    send_for_late_stock(skus, plan_late_stock)


@scheduled(FULFIL_REPLANNING_ORDERS, budget=timedelta(minutes=10))
def fulfil_replanning_orders(run: Run) -> dict[str, int]:
    """Plan the packages again that need it and have a chance, and end the waits that are over."""
    actor = FULFIL_REPLANNING_ORDERS
    short_of_stock = relieve_shortfalls(actor=actor, at=run.now, should_stop=run.should_stop)
    counts = _replan(run, UNPLANNED_STATES, actor)
    if run.stopped_by is None:
        limit_waits(run)
        counts["cancelled_overdue"] = cancel_ended_waits(run, actor=actor)
    return {**counts, "short_of_stock": short_of_stock}


@scheduled(RETRY_OUT_OF_STOCK_PACKAGES, budget=timedelta(minutes=10))
def retry_out_of_stock_packages(run: Run) -> dict[str, int]:
    """Plan the packages again that were out of stock or defective and have a chance."""
    states = (PackageState.OUT_OF_STOCK, PackageState.DEFECTIVE_PRODUCT)
    return _replan(run, states, RETRY_OUT_OF_STOCK_PACKAGES)


def _replan(run: Run, states: tuple[PackageState, ...], actor: str) -> dict[str, int]:
    max_attempts = settings.current().replan_max_attempts
    return replan_packages(run, states, actor=actor, max_attempts=max_attempts)


@scheduled(RETRY_OUT_OF_STOCK_TRANSFERS, budget=timedelta(minutes=10))
def retry_out_of_stock_transfers(run: Run) -> dict[str, int]:
    """Find another source for the transfers whose source did not have their items."""
    return replan_transfers(run)


@scheduled("oms.fulfilment.tasks.update_order_execution_plan_context", budget=timedelta(minutes=30))
def update_order_execution_plan_context(run: Run) -> dict[str, int]:
    """Write into each plan's context what became of its packages."""
    with connection():
        return refresh_contexts(run)
