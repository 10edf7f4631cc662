"""How long ended exclusions are kept; packages and transfers themselves are."""

from peewee import fn

from oms_workers.packages.models import ExcludedLocation, Package, PackageItem, TransferItem, TransferOrder
from oms_workers.retention import Kept, Retention

EXCLUSIONS = Retention(
    model=ExcludedLocation,
    what="exclusions of locations that have ended",
    # That an exclusion has ended is a reason to plan a package again, so it stays for a while.
    moment=ExcludedLocation.until,
    days="excluded_locations_days",
    most="excluded_locations_max_rows",
    task="oms.fulfilment.tasks.fulfil_replaning_orders",
    # However many there are, one that holds is never forgotten.
    may_go=lambda: (ExcludedLocation.until < fn.clock_timestamp(),),
)

RETENTIONS = (
    EXCLUSIONS,
    Kept(Package, "What was sent of an order, and from where."),
    Kept(PackageItem, "The lines of the packages."),
    Kept(TransferOrder, "What was brought for a package, and from where."),
    Kept(TransferItem, "The lines of the transfers."),
)
