"""Scenarios, the plans they make, and the packages that come of them."""

from enum import IntEnum, StrEnum

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    TextField,
)
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table
from oms_workers.orders.models import Order, OrderItem
from oms_workers.reservations.models import Location


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


class TransferState(IntEnum):
    """The state of a transfer order."""

    WAITING = 100
    READY_FOR_SHIPMENT = 200
    IN_TRANSIT = 300
    COMPLETED = 400
    OUT_OF_STOCK = 920
    CANCELLED = 1000


class PlanState(StrEnum):
    """The state of one attempt to plan an order.

    `completed`: packages came of it. `pending`: the order is held. `cancelled`: it placed nothing.
    """

    START = "start"
    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Scenario(Table):
    """An ordered chain of rules for the orders that its conditions match."""

    id = BigAutoField()
    name = TextField(unique=True)
    priority = IntegerField(default=0)
    active = BooleanField(default=True)
    conditions = BinaryJSONField()
    changed_at = DateTimeTZField()

    class Meta:
        table_name = "scenarios"


class ScenarioRule(Table):
    """Which locations may serve, in which order, and how lines are given to them."""

    id = BigAutoField()
    scenario = ForeignKeyField(Scenario, column_name="scenario_id", backref="rules")
    position = IntegerField()
    name = TextField()
    filters = BinaryJSONField()
    ranking = BinaryJSONField()
    mode = TextField()
    options = BinaryJSONField()

    class Meta:
        table_name = "scenario_rules"


class OrderExecutionPlan(Table):
    """One attempt to plan an order; its context says what was considered and why it was chosen or not."""

    id = BigAutoField()
    order = ForeignKeyField(Order, column_name="order_id")
    state = TextField()
    attempt = IntegerField()
    context = BinaryJSONField()
    package_id = BigIntegerField(null=True)
    created_at = DateTimeTZField()

    class Meta:
        table_name = "order_execution_plans"


class Package(Table):
    """Lines of one order at one location."""

    id = BigAutoField()
    number = TextField(unique=True)
    order = ForeignKeyField(Order, column_name="order_id")
    plan = ForeignKeyField(OrderExecutionPlan, column_name="plan_id")
    location = ForeignKeyField(Location, column_name="location_id")
    state = IntegerField()
    version = IntegerField(default=0)
    replan_attempts = IntegerField(default=0)
    claimed_until = DateTimeTZField(null=True)
    replanned_at = DateTimeTZField(null=True)
    fruitless_at = DateTimeTZField(null=True)
    cancel_after = DateTimeTZField(null=True)
    blocked_from = IntegerField(null=True)
    created_at = DateTimeTZField()
    changed_at = DateTimeTZField()

    class Meta:
        table_name = "packages"


class PackageItem(Table):
    """Units of an order's line in a package; a line may be split over several."""

    id = BigAutoField()
    package = ForeignKeyField(Package, column_name="package_id", backref="items")
    order_item = ForeignKeyField(OrderItem, column_name="order_item_id")
    sku = TextField()
    quantity = IntegerField()
    state = IntegerField()

    class Meta:
        table_name = "package_items"


class TransferOrder(Table):
    """Units that one location sends to another, which needs them for a package."""

    id = BigAutoField()
    number = TextField(unique=True)
    package = ForeignKeyField(Package, column_name="package_id")
    source = ForeignKeyField(Location, column_name="source_id")
    destination = ForeignKeyField(Location, column_name="destination_id")
    state = IntegerField()
    version = IntegerField(default=0)
    replanned_at = DateTimeTZField(null=True)
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
    """Where a line of an order does not go again until then, because it was rejected there."""

    order_item = ForeignKeyField(OrderItem, column_name="order_item_id")
    location = ForeignKeyField(Location, column_name="location_id")
    until = DateTimeTZField()

    class Meta:
        table_name = "excluded_locations"
        primary_key = CompositeKey("order_item", "location")


#: What `packages_unplanned` indexes: packages that wait for another plan.
UNPLANNED_STATES = (
    PackageState.NEEDS_REPLAN,
    PackageState.OUT_OF_STOCK,
    PackageState.DEFECTIVE_PRODUCT,
    PackageState.UNAVAILABLE,
)
