"""Packages, the transfers that they wait for, and where their lines do not go again."""

from enum import IntEnum

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    TextField,
)
from playhouse.postgres_ext import DateTimeTZField

from oms_workers.database import Table
from oms_workers.orders.models import Order, OrderItem
from oms_workers.reservations.models import Location
from oms_workers.sets import CodeField


class PackageState(IntEnum):
    """A package's state; 450 and above is packed or past it."""

    WAITING = 100
    WAITING_FOR_TRANSFER = 150
    PREPARING = 200
    BLOCKED = 300
    READY_FOR_PACKAGING = 400
    PACKED = 500
    SHIPPED = 600
    READY_FOR_PICKUP = 650
    ATTEMPTED_DELIVERY = 700
    DELIVERY_FAILED = 750
    DELIVERED = 900
    NEEDS_REPLAN = 910
    OUT_OF_STOCK = 920
    DEFECTIVE_PRODUCT = 930
    UNAVAILABLE = 940
    CANCELLED = 1000
    CANCELLATION_WAITING = 1010
    PACKED_FOR_REFUND = 1100


#: From this code on a package is packed or past it, by the operators' document.
PACKED_FROM = 450


class TransferState(IntEnum):
    """The state of a transfer order."""

    WAITING = 100
    READY_FOR_SHIPMENT = 200
    IN_TRANSIT = 300
    COMPLETED = 400
    OUT_OF_STOCK = 920
    CANCELLED = 1000


#: Packages that wait for another plan. The indexes packages_unplanned and package_items_unplanned hold only
#: these.
UNPLANNED_STATES = (
    PackageState.NEEDS_REPLAN,
    PackageState.OUT_OF_STOCK,
    PackageState.DEFECTIVE_PRODUCT,
    PackageState.UNAVAILABLE,
)

#: Packages that are at their location and not packed: they hold stock there.
OPEN_STATES = (
    PackageState.WAITING,
    PackageState.WAITING_FOR_TRANSFER,
    PackageState.PREPARING,
    PackageState.READY_FOR_PACKAGING,
)

#: Packages that their location has not begun with.
UNTOUCHED = (PackageState.WAITING, PackageState.WAITING_FOR_TRANSFER)

#: Packages that a location still has to pack, as the index packages_open has them.
TO_PACK = (
    PackageState.WAITING,
    PackageState.WAITING_FOR_TRANSFER,
    PackageState.PREPARING,
    PackageState.BLOCKED,
    PackageState.CANCELLATION_WAITING,
)

#: Packages with nothing before them any more.
FINAL_STATES = (PackageState.DELIVERED, PackageState.CANCELLED, PackageState.PACKED_FOR_REFUND)

#: Transfers whose goods are at their source, where they are reserved.
TRANSFERS_AT_SOURCE = (TransferState.WAITING, TransferState.READY_FOR_SHIPMENT)

#: Transfers that bring nothing any more.
ENDED_TRANSFERS = (TransferState.COMPLETED, TransferState.CANCELLED)


class Package(Table):
    """Lines of one order at one location.

    `replanned_at` is when planning it again was last tried, or was in vain since none of it was anywhere.
    `fruitless_at` is when an attempt placed nothing although something was available. At `cancel_after` it is
    cancelled if it still waits for stock.
    `blocked_from` is the state to which it returns when it is unblocked.
    """

    id = BigAutoField()
    number = TextField(unique=True)
    order = ForeignKeyField(Order, column_name="order_id")
    # The model of plans is in the room above this one.
    plan_id = BigIntegerField()
    location = ForeignKeyField(Location, column_name="location_id")
    state = CodeField(PackageState)
    version = IntegerField(default=0)
    replan_attempts = IntegerField(default=0)
    replanned_at = DateTimeTZField(null=True)
    fruitless_at = DateTimeTZField(null=True)
    cancel_after = DateTimeTZField(null=True)
    blocked_from = CodeField(PackageState, null=True)
    created_at = DateTimeTZField()
    changed_at = DateTimeTZField()

    class Meta:
        table_name = "packages"


class PackageItem(Table):
    """Units of an order's line in a package; a line may be split over several. Its state is its package's."""

    id = BigAutoField()
    package = ForeignKeyField(Package, column_name="package_id", backref="items")
    order_item = ForeignKeyField(OrderItem, column_name="order_item_id")
    sku = TextField()
    quantity = IntegerField()
    state = CodeField(PackageState)

    class Meta:
        table_name = "package_items"


class TransferOrder(Table):
    """Units that one location sends to another, which needs them for a package."""

    id = BigAutoField()
    number = TextField(unique=True)
    package = ForeignKeyField(Package, column_name="package_id")
    source = ForeignKeyField(Location, column_name="source_id")
    destination = ForeignKeyField(Location, column_name="destination_id")
    state = CodeField(TransferState)
    version = IntegerField(default=0)
    created_at = DateTimeTZField()
    changed_at = DateTimeTZField()

    class Meta:
        table_name = "transfer_orders"


class TransferItem(Table):
    """Units of a package's item that a transfer brings."""

    id = BigAutoField()
    transfer = ForeignKeyField(TransferOrder, column_name="transfer_id")
    package_item = ForeignKeyField(PackageItem, column_name="package_item_id")
    sku = TextField()
    quantity = IntegerField()

    class Meta:
        table_name = "transfer_items"


class ExcludedLocation(Table):
    """A location to which a line of an order does not return until then, because it was rejected there.

    `about_stock` is whether the rejection said that units of this line were not there. A count that was made
    after `excluded_at` ends such an exclusion.
    """

    order_item = ForeignKeyField(OrderItem, column_name="order_item_id")
    location = ForeignKeyField(Location, column_name="location_id")
    until = DateTimeTZField()
    excluded_at = DateTimeTZField()
    about_stock = BooleanField(default=False)

    class Meta:
        table_name = "excluded_locations"
        primary_key = CompositeKey("order_item", "location")
