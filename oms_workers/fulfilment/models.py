"""Scenarios, and the plans that they make."""

from enum import StrEnum

from peewee import BigAutoField, BigIntegerField, BooleanField, ForeignKeyField, IntegerField, TextField
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from oms_workers.database import Table
from oms_workers.orders.models import Order
from oms_workers.sets import NameField


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


#: What of a rule has a column of its own; the rest is in `options`.
RULE_COLUMNS = ("name", "filters", "ranking", "mode")


class OrderExecutionPlan(Table):
    """One attempt to plan an order; its context says what was considered and why it was chosen or not.

    `package_id` is the package that the attempt was to replace, or None for an order's first plan.
    """

    id = BigAutoField()
    order = ForeignKeyField(Order, column_name="order_id")
    state = NameField(PlanState)
    attempt = IntegerField()
    context = BinaryJSONField()
    package_id = BigIntegerField(null=True)
    created_at = DateTimeTZField()

    class Meta:
        table_name = "order_execution_plans"
