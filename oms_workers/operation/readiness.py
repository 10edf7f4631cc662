"""What a deploy can start without, and yet does no work without: warnings of `oms check`."""

from collections.abc import Iterator

import settings
from oms_workers.fulfilment.models import Scenario
from oms_workers.fulfilment.planner_input import has_default_location
from oms_workers.orders.client import Omnitron, OmnitronError, OmnitronRefusedError
from oms_workers.reservations.models import Location, Stock
from oms_workers.sets import exists

#: How long the hub may take for the next bytes of its answer. A release phase should not wait for it.
HUB_TIMEOUT_SECONDS = 3


def merchant_warnings() -> Iterator[str]:
    """What planning lacks in the tables; needs a connection."""
    if not exists(Location.select(Location.id)):
        yield "No location is known, and orders wait until there is one; load yours with `oms load`."
        return
    if not has_default_location():
        yield "No location is marked is_default, and orders wait until one is; mark one with `oms load`."
    if not exists(Scenario.select(Scenario.id).where(Scenario.active)):
        yield "No scenario is active, and every order becomes out_of_stock; load one with `oms load`."
    if not exists(Stock.select(Stock.sku)):
        yield "No stock is known, and every order becomes out_of_stock; load yours with `oms load`."


def hub_warnings(configuration: settings.Settings) -> Iterator[str]:
    """Whether Omnitron takes our credentials: one call that asks for one order and changes nothing."""
    if not configuration.switch("OMNITRON_ORDERS").enabled:
        return
    short = {"omnitron_timeout_seconds": HUB_TIMEOUT_SECONDS, "omnitron_page_size": 1}
    with Omnitron(configuration.model_copy(update=short), _no_second_try) as hub:
        try:
            hub.orders(1)
        except OmnitronRefusedError as error:
            yield str(error)
        except OmnitronError as error:
            said = str(error).partition("; no time is left")[0]
            yield f"Omnitron cannot be asked now, and its orders come when it can: {said}"


def _no_second_try(seconds: float) -> bool:
    """Whether there is time to wait so long: the client asks before each call, and before another try."""
    return seconds == 0
