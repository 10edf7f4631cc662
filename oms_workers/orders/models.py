"""Orders, their lines, and what could not be stored."""

from enum import StrEnum

from peewee import (
    BigAutoField,
    BigIntegerField,
    DecimalField,
    ForeignKeyField,
    IntegerField,
    TextField,
    Value,
    fn,
)
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table
from oms_workers.sets import NameField


class OrderState(StrEnum):
    """Where an order is: in exactly one of these."""

    WAITING = "waiting"
    PLANNED = "planned"
    HELD = "held"
    SETTLED = "settled"


class OmnitronStatus(StrEnum):
    """Omnitron's codes of orders and items, which travel as strings."""

    CANCELLATION_WAITING = "50"
    CANCELLED = "100"
    WAITING = "200"
    PAYMENT_WAITING = "300"
    CONFIRMATION_WAITING = "350"
    APPROVED = "400"
    PREPARING = "450"
    SHIPPED = "500"
    SHIPPED_AND_INFORMED = "510"
    READY_FOR_PICKUP = "520"
    ATTEMPTED_DELIVERY = "540"
    DELIVERED = "550"
    REFUNDED = "600"


#: A line in one of these needs no package.
CLOSED_LINE_STATUSES = (
    OmnitronStatus.CANCELLATION_WAITING,
    OmnitronStatus.CANCELLED,
    OmnitronStatus.REFUNDED,
)


#: Only a line in this status is planned first: what is not paid waits, and what was sent is not sent again.
PLANNED_LINE_STATUSES = (OmnitronStatus.APPROVED,)

#: A planned line may be planned again until it was sent; Omnitron has been told that it is being prepared.
REPLANNED_LINE_STATUSES = (OmnitronStatus.APPROVED, OmnitronStatus.PREPARING)

#: A line in one of these may still be approved.
UNPAID_LINE_STATUSES = (
    OmnitronStatus.WAITING,
    OmnitronStatus.PAYMENT_WAITING,
    OmnitronStatus.CONFIRMATION_WAITING,
)


class Order(Table):
    """An order as it was pulled. `facts` is what scenarios ask about, `payload` is all that Omnitron said.

    While `released_version` is its `plan_version`, a person has let go the order with just these lines, and
    no rule holds it.
    """

    id = BigAutoField()
    omnitron_id = BigIntegerField(unique=True)
    number = TextField()
    status = TextField()
    state = NameField(OrderState)
    next_plan_at = DateTimeTZField()
    channel = TextField(null=True)
    priority = IntegerField(default=0)
    plan_version = IntegerField(default=0)
    released_version = IntegerField(null=True)
    placed_at = DateTimeTZField()
    promised_at = DateTimeTZField(null=True)
    modified_at = DateTimeTZField(null=True)
    received_at = DateTimeTZField()
    facts = BinaryJSONField()
    line_changes = BinaryJSONField(null=True)
    payload = BinaryJSONField()

    class Meta:
        table_name = "orders"


#: Whether a person has let the order go with just these lines.
IS_RELEASED = fn.COALESCE(Order.released_version == Order.plan_version, Value(value=False))


class OrderItem(Table):
    """A line of an order: one unit, unless Omnitron gives a quantity."""

    id = BigAutoField()
    order = ForeignKeyField(Order, column_name="order_id", backref="items")
    omnitron_id = BigIntegerField(unique=True)
    sku = TextField()
    quantity = IntegerField()
    status = TextField()
    price = DecimalField(null=True)

    class Meta:
        table_name = "order_items"


class RejectedOrder(Table):
    """An order that could not be stored, kept whole with the reason. It was not acknowledged.

    `omnitron_id` is the hub's key as text, or what stands for it. `attempts` counts how often this version
    was tried. Once it is dismissed, it is not tried again before the hub has modified it.
    """

    id = BigAutoField()
    omnitron_id = TextField(unique=True)
    number = TextField(null=True)
    modified_at = TextField(null=True)
    reason = TextField()
    payload = TextField()
    first_seen_at = DateTimeTZField()
    last_seen_at = DateTimeTZField()
    attempts = IntegerField(default=0)
    next_attempt_at = DateTimeTZField(null=True)
    dismissed_at = DateTimeTZField(null=True)
    dismissed_by = TextField(null=True)
    dismissed_reason = TextField(null=True)

    class Meta:
        table_name = "rejected_orders"
