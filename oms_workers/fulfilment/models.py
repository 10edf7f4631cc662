"""Scenarios, the plans they make, and the packages that come of them."""

from enum import IntEnum, StrEnum

from peewee import BigAutoField, BooleanField, ForeignKeyField, IntegerField, TextField
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


class PlanState(StrEnum):
    """The state of one attempt to plan an order."""

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

    class Meta:
        table_name = "scenario_rules"


class OrderExecutionPlan(Table):
    """One attempt to plan an order; its context says what was considered and why it was chosen or not."""

    id = BigAutoField()
    order = ForeignKeyField(Order, column_name="order_id")
    state = TextField()
    attempt = IntegerField()
    context = BinaryJSONField()
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
    created_at = DateTimeTZField()

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


#: What `packages_unplanned` indexes: packages that wait for another plan.
UNPLANNED_STATES = (
    PackageState.NEEDS_REPLAN,
    PackageState.OUT_OF_STOCK,
    PackageState.DEFECTIVE_PRODUCT,
    PackageState.UNAVAILABLE,
)
