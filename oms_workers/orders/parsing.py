"""From Omnitron's JSON to an order that can be stored, or to the reason why it cannot.

What an order can do without is left out where it cannot be read, and the order's remarks say so.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from oms_workers.errors import OmsError
from oms_workers.normal_form import written_form
from oms_workers.orders.soundness import problems_of, without_depth

#: What a `bigint` of PostgreSQL holds.
MAX_KEY = 2**63 - 1

#: What scenarios may ask about an order, as Omnitron names it.
FACTS = (
    "channel",
    "cargo_company",
    "payment_option",
    "delivery_type",
    "delivery_range",
    "shipping_option_slug",
    "client_type",
    "segment",
    "language_code",
    "has_gift_box",
    "currency",
    "country",
    "state",
    "district",
    "city",
)

#: Where the order goes, by the names that an address may have for it; the first one present counts.
_ADDRESS = {
    "country": ("country",),
    "state": ("state", "city"),
    "district": ("district", "township"),
    "city": ("city",),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
}

_MAX_PROBLEMS = 5
_MAX_DEGREES = 180
_FIRST_YEAR, _LAST_YEAR = 1970, 9000

#: The lowest and the highest priority of an order.
PRIORITIES = (-1000, 1000)

#: More than anything costs; a number far beyond it is refused by PostgreSQL.
_MOST_MONEY = 10**15

_MAX_NUMBER_CHARACTERS = 128
_MAX_REMARK_CHARACTERS = 60

#: What a hub may write anew each time it gives an order that has not changed.
_MOVING = ("modified_date", "is_send")


class UnstorableOrderError(OmsError):
    """The order lacks something that it needs, or holds something that cannot be stored."""


def _as_text(value: Any) -> Any:
    """Omnitron sends codes as strings; a number in their place means the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _blank_as_none(value: Any) -> Any:
    return None if value == "" else value


_DATE_OR_TIME: TypeAdapter[datetime | date] = TypeAdapter(datetime | date)


def _read_instant(value: Any) -> datetime | None:
    """An instant that both PostgreSQL and Python can represent; a time without a zone is UTC."""
    if value is None or value == "":
        return None
    read = _DATE_OR_TIME.validate_python(value)
    moment = read if isinstance(read, datetime) else datetime.combine(read, time())
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"the year {moment.year} cannot be right")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _no_truth(value: Any) -> Any:
    """Python takes `true` for 1; a hub that sends it means something else."""
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


def _as_sku(text: str) -> str:
    """A sku that a person can search for: without blanks around it, and with visible signs only."""
    sku = written_form(text)
    if not sku or not sku.isprintable():
        raise ValueError("it is blank, or holds signs that cannot be seen")
    return sku


Key = Annotated[int, Field(gt=0, le=MAX_KEY), BeforeValidator(_no_truth)]
Code = Annotated[str, BeforeValidator(_as_text)]
_KEY: TypeAdapter[int] = TypeAdapter(Key)
_PRIORITY: TypeAdapter[int] = TypeAdapter(Annotated[int, BeforeValidator(_no_truth)])
#: A date without a time is the first moment of that day.
Instant = Annotated[datetime | None, BeforeValidator(_read_instant)]
_INSTANT: TypeAdapter[datetime | None] = TypeAdapter(Instant)
Money = Annotated[
    Annotated[Decimal, Field(ge=-_MOST_MONEY, le=_MOST_MONEY)] | None, BeforeValidator(_blank_as_none)
]
#: Where Omnitron gives none, a line is one unit.
Quantity = Annotated[
    int,
    Field(gt=0, le=1_000_000),
    BeforeValidator(_no_truth),
    BeforeValidator(lambda value: 1 if value is None else value),
]


class _Product(BaseModel):
    sku: Annotated[Code, Field(min_length=1, max_length=255), AfterValidator(_as_sku)]


class _Item(BaseModel):
    pk: Key
    product: _Product
    status: Annotated[Code, Field(min_length=1, max_length=32, pattern=r"^[^\x00]*$")]
    order: Any = None
    quantity: Quantity = 1
    price: Money = None


class _Order(BaseModel):
    pk: Key
    number: Annotated[Code, Field(min_length=1, max_length=_MAX_NUMBER_CHARACTERS)]
    status: Annotated[Code, Field(min_length=1, max_length=32)]


class PulledLine(NamedTuple):
    """One line of a pulled order."""

    omnitron_id: int
    sku: str
    quantity: int
    status: str
    price: Decimal | None


@dataclass(frozen=True)
class PulledOrder:
    """An order that can be stored; `remarks` say what of it could not be read and was left out."""

    omnitron_id: int
    number: str
    status: str
    placed_at: datetime
    promised_at: datetime | None
    priority: int
    modified_at: datetime | None
    facts: dict[str, str]
    lines: tuple[PulledLine, ...]
    payload: dict[str, Any]
    remarks: tuple[str, ...] = ()


def parse(payload: Any, items: list[Any], *, now: datetime) -> PulledOrder:
    """Read an order and its items. Raises `UnstorableOrderError`, which names each field that is wrong."""
    try:
        order = _Order.model_validate(payload)
        parsed = [_Item.model_validate(item) for item in items]
    except ValidationError as error:
        raise UnstorableOrderError(_reason(error)) from None
    if not parsed:
        raise UnstorableOrderError("the order has no items")
    strangers = [item.pk for item in parsed if _key(item.order) not in (None, order.pk)]
    if strangers:
        raise UnstorableOrderError(f"item {strangers[0]} belongs to another order")
    if len({item.pk for item in parsed}) < len(parsed):
        raise UnstorableOrderError("two items have the same pk")
    unsound = sorted(problems_of(payload))
    if unsound:
        raise UnstorableOrderError(f"the order cannot be stored: {'; '.join(unsound[:_MAX_PROBLEMS])}")
    optional = _Optional()
    placed, created = (optional.instant(payload, name) for name in ("date_placed", "created_date"))
    promises = [
        optional.instant(item, "estimated_delivery_date", f"items.{n}.") for n, item in enumerate(items)
    ]
    return PulledOrder(
        omnitron_id=order.pk,
        number=order.number,
        status=order.status,
        placed_at=placed or created or now,
        promised_at=min(filter(None, promises), default=None),
        priority=optional.priority(payload.get("extra_field")),
        modified_at=optional.instant(payload, "modified_date"),
        facts=_facts(payload),
        lines=tuple(
            PulledLine(item.pk, item.product.sku, item.quantity, item.status, item.price)
            for item in sorted(parsed, key=lambda item: item.pk)
        ),
        payload=payload,
        remarks=tuple(optional.remarks),
    )


class _Optional:
    """Reads what an order can do without; what cannot be read is left out, with a remark."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def instant(self, holder: dict[str, Any], name: str, where: str = "") -> datetime | None:
        try:
            return _INSTANT.validate_python(holder.get(name))
        except ValidationError:
            self._remark(f"{where}{name}", holder[name], "is no date that can be read, and is left out")
            return None

    def priority(self, extra_field: Any) -> int:
        """What the merchant has put into the order's `extra_field.priority`; 0 where there is none."""
        value = extra_field.get("priority") if isinstance(extra_field, dict) else None
        if value is None:
            return 0
        name = "extra_field.priority"
        try:
            read = _PRIORITY.validate_python(value)
        except ValidationError:
            self._remark(name, value, "is no whole number, and counts as 0")
            return 0
        nearest = min(max(read, PRIORITIES[0]), PRIORITIES[1])
        if nearest != read:
            self._remark(name, value, f"is beyond {nearest}, and counts as {nearest}")
        return nearest

    def _remark(self, name: str, value: Any, problem: str) -> None:
        self.remarks.append(f"{name}: {ascii(value)[:_MAX_REMARK_CHARACTERS]} {problem}")


def key_of(payload: Any) -> str:
    """The hub's key as text. Without one, the order's number, or else a digest of what does not move."""
    key = _key(payload.get("pk")) if isinstance(payload, dict) else None
    if key is not None:
        return str(key)
    number = number_of(payload)
    if number is not None:
        return f"number:{number}"
    still = payload
    if isinstance(payload, dict):
        still = {name: value for name, value in payload.items() if name not in _MOVING}
    whole = json.dumps(without_depth(still), sort_keys=True)
    return f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}"


def number_of(payload: Any) -> str | None:
    """The order's number, or None where it has none that a person can read."""
    number = _as_text(payload.get("number")) if isinstance(payload, dict) else None
    if not isinstance(number, str) or not number.strip() or not number.isprintable():
        return None
    return number if len(number) <= _MAX_NUMBER_CHARACTERS else None


def _key(value: Any) -> int | None:
    try:
        return _KEY.validate_python(value)
    except ValidationError:
        return None


def modification_of(payload: Any) -> datetime | None:
    """The order's `modified_date`, or None where it has none that can be read."""
    try:
        return _INSTANT.validate_python(payload.get("modified_date") if isinstance(payload, dict) else None)
    except ValidationError:
        return None


def raw_modification_of(payload: Any) -> str | None:
    """The order's `modified_date` as the hub wrote it; it only has to tell whether it has changed."""
    value = payload.get("modified_date") if isinstance(payload, dict) else None
    return None if value is None else json.dumps(without_depth(value))


def _facts(payload: dict[str, Any]) -> dict[str, str]:
    facts = {name: _fact(payload[name]) for name in FACTS if payload.get(name) not in (None, "")}
    address = payload.get("shipping_address")
    if not isinstance(address, dict):
        return facts
    for name, keys in _ADDRESS.items():
        value = next((address[key] for key in keys if address.get(key) not in (None, "")), None)
        if value is not None and (name not in ("latitude", "longitude") or _is_degrees(value)):
            facts[name] = _fact(value)
    return facts


def _is_degrees(value: Any) -> bool:
    try:
        return abs(float(value)) <= _MAX_DEGREES
    except (TypeError, ValueError):
        return False


def _fact(value: Any) -> str:
    """A fact as text: an object stands for its code, slug, name or pk, in this order."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("code", "slug", "name", "pk") if value.get(key) is not None), "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False)
    owner = "item" if error.title == "_Item" else "order"
    problems = [
        f"{'.'.join(map(str, detail['loc'])) or owner}: {detail['msg'].lower()}"
        for detail in details[:_MAX_PROBLEMS]
    ]
    return f"the {owner} cannot be read: {'; '.join(problems)}"
