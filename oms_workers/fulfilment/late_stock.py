"""Late stock: what has come is planned at once for the packages that wait for it, before others ask."""

import logging
from collections.abc import Collection

import redis

from oms_workers.broker import HINT, Job
from oms_workers.database import connection
from oms_workers.packages.models import UNPLANNED_STATES, PackageItem
from oms_workers.reservations.models import Location, Stock
from oms_workers.sets import among, column, one_of

logger = logging.getLogger(__name__)

#: Skus that one message names; a count of a whole chain is several messages.
MOST_SKUS = 500


def send_for_late_stock(skus: Collection[str], job: Job) -> int:
    """Send `job` the skus of these that are available and that a package waits for; returns how many.

    Where Redis does not answer, the schedule of `fulfil_replaning_orders` does it later.
    """
    with connection():
        wanted = waited_for(skus)
    try:
        for start in range(0, len(wanted), MOST_SKUS):
            job.send(wanted[start : start + MOST_SKUS], **{HINT: True})
    except redis.RedisError as error:
        logger.warning("Late stock is planned by the schedule, since Redis does not answer: %s", error)
        return 0
    return len(wanted)


def waited_for(skus: Collection[str]) -> list[str]:
    """The skus of these that are available somewhere and that a package waits for."""
    is_there = (Stock.on_hand > Stock.reserved + Stock.safety) & Location.active
    # The indexes package_items_unplanned and stock_available hold only what waits, and what is there.
    query = (
        PackageItem.select(PackageItem.sku)
        .distinct()
        .join(Stock, on=Stock.sku == PackageItem.sku)
        .join(Location, on=Location.id == Stock.location)
        .where(one_of(PackageItem.sku, sorted(skus)), among(PackageItem.state, UNPLANNED_STATES), is_there)
        .order_by(PackageItem.sku)
    )
    return column(query)
