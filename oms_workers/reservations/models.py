"""Locations, their stock, and the reservations and movements of it."""

from enum import StrEnum

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CompositeKey,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    TextField,
)
from playhouse.postgres_ext import DateTimeTZField

from oms_workers.database import Table
from oms_workers.sets import NameField


class ReservationKind(StrEnum):
    """What a reservation is for."""

    PACKAGE = "package"
    TRANSFER = "transfer"
    DISCREPANCY = "discrepancy"


class Meaning(StrEnum):
    """What a rejection says about the stock of a sku at its location."""

    NOTHING = "nothing"
    QUANTITY = "quantity"
    ALL = "all"


class MovementKind(StrEnum):
    """Why a counter of stock has changed; `stock.EFFECTS` says which."""

    RESERVED = "reserved"
    RELEASED = "released"
    CONSUMED = "consumed"
    RECEIVED = "received"
    SNAPSHOT = "snapshot"
    RECOUNTED = "recounted"
    OPENING = "opening"
    OPENING_RESERVED = "opening_reserved"


class Location(Table):
    """A place that holds stock. Exactly one is the default, where lines wait that no rule can place."""

    id = BigAutoField()
    code = TextField(unique=True)
    name = TextField()
    type = TextField()
    active = BooleanField(default=True)
    priority = IntegerField(default=0)
    country = TextField(null=True)
    state = TextField(null=True)
    district = TextField(null=True)
    city = TextField(null=True)
    address = TextField(null=True)
    latitude = DoubleField(null=True)
    longitude = DoubleField(null=True)
    quota = IntegerField(null=True)
    is_default = BooleanField(default=False)
    changed_at = DateTimeTZField()

    class Meta:
        table_name = "locations"


class Stock(Table):
    """The stock of a sku at a location, in units. Available is `on_hand - reserved - safety`.

    `counted_at` is when people last counted it, and `risen_at` when more became available. The previous
    release knows `counted_at` as `snapshot_at`.
    """

    sku = TextField()
    location = ForeignKeyField(Location, column_name="location_id")
    on_hand = IntegerField()
    reserved = IntegerField(default=0)
    safety = IntegerField(default=0)
    counted_at = DateTimeTZField(null=True)
    snapshot_at = DateTimeTZField(null=True)
    risen_at = DateTimeTZField()

    class Meta:
        table_name = "stock"
        primary_key = CompositeKey("sku", "location")


class Reservation(Table):
    """Units of stock that are promised, until `released_at`. `Stock.reserved` is the sum of the live ones.

    `meaning` is what the rejection said that made a discrepancy.
    """

    id = BigAutoField()
    sku = TextField()
    location = ForeignKeyField(Location, column_name="location_id")
    quantity = IntegerField()
    kind = NameField(ReservationKind)
    package_item_id = BigIntegerField(null=True)
    transfer_item_id = BigIntegerField(null=True)
    created_at = DateTimeTZField()
    expires_at = DateTimeTZField(null=True)
    meaning = NameField(Meaning, null=True)
    released_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "reservations"


class StockMovement(Table):
    """One change of `on_hand` or `reserved`, or the sum of `summed_rows` older ones of its kind.

    `on_hand` and `reserved` are the counters after it. A row of an earlier release does not have them.
    """

    id = BigAutoField()
    sku = TextField()
    location_id = BigIntegerField()
    quantity = IntegerField()
    kind = NameField(MovementKind)
    reason = TextField()
    at = DateTimeTZField()
    summed_rows = BigIntegerField(null=True)
    on_hand = IntegerField(null=True)
    reserved = IntegerField(null=True)

    class Meta:
        table_name = "stock_movements"
