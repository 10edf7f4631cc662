"""Every environment variable, grouped, with its unit; read from the environment or a `.env` file.

The environment wins over `.env`, which wins over what a running `oms up` has left for other terminals.
An empty value means unset. Everything wrong is reported together, and no secret is ever shown.
"""

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import redis
from dotenv import dotenv_values
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from oms_workers.scheduling.cadence import (
    CRONTAB_EXAMPLE,
    INTERVAL_EXAMPLE,
    Cadence,
    Crontab,
    Interval,
    has_two_day_fields,
    parse_crontab,
    parse_interval,
)

#: The exit status of every program here that is given a configuration it cannot use.
EXIT_MISCONFIGURED = 2

#: Each task has three variables: `KEY` (true or false, default true), `KEY_CRONTAB` (minute,hour,day,month,
#: weekday) and `KEY_SCHEDULE` (seconds). At most one of the last two may be set.
TASK_KEYS = (
    "OMNITRON_ORDERS",
    "FULFIL_WAITING_ORDERS",
    "FULFIL_REPLANNING_ORDERS",
    "RENEW_OUT_OF_STOCK_PACKAGES",
    "RENEW_OUT_OF_STOCK_TRANSFERS",
    "DAILY_CLEAR_INVENTORY_DISCREPANCIES",
    "UPDATE_TRACKING_INFORMATIONS",
    "UPDATE_TRACKING_INFORMATIONS_SEVEN_DAYS",
    "UPDATE_TRANSFER_SHIPMENTS_TRACKING_INFORMATIONS",
    "UNDELIVERED_WHISPERER_TASKS",
    "DB_MAINTENANCE",
    "ARCHIVE_OLD_AUDIT_EVENTS",
    "PROCESS_CANCELLATION_PLANS",
    "RERUN_PLANS_FOR_CANCELLATION_WAITING_PACKAGES",
    "UPDATE_ORDER_EXECUTION_PLAN_CONTEXT",
    "WHISPERER_TRIGGER_EVENT_QUEUE_EVENTS",
    "DELETE_OLD_WEBHOOK_REQUEST_RECORDS",
    "AUTO_RUN_SHIP_THE_PACKAGE_COMMAND",
)

#: What `oms up` keeps: the embedded servers' data, their addresses and the logs.
LOCAL_DIRECTORY = Path(".oms")
LOCAL_SERVERS = LOCAL_DIRECTORY / "servers.json"

T = TypeVar("T")

#: How alike an unknown variable must be to a task's key to be taken for a misspelling of it.
_MISSPELLING_CUTOFF = 0.9
_SHOWN_CHARACTERS = 80
_USERINFO = re.compile(r"//[^/\s]*@")


def _url_with(*schemes: str, host_required: bool) -> AfterValidator:
    def check(value: Any) -> Any:
        url = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - the property raises where the port is no number
        except ValueError as error:
            raise ValueError("is not a URL") from error
        if parts.scheme not in schemes:
            raise ValueError(f"has the scheme {parts.scheme!r} instead of {' or '.join(schemes)}")
        if host_required and not parts.hostname:
            raise ValueError("names no host")
        if host_required and parts.username is not None:
            raise ValueError("holds a user name; credentials have variables of their own")
        return value

    return AfterValidator(check)


def _readable_by(parse: Callable[[str], object], program: str) -> AfterValidator:
    """Let the library that will use an address read it now; its own words quote it, and stay unsaid."""

    def check(value: SecretStr) -> SecretStr:
        try:
            parse(value.get_secret_value())
        except Exception:  # noqa: BLE001 - whatever it is, the value cannot be used
            raise ValueError(
                f"cannot be read by {program}: look for a misspelt option, or a sign in the password that"
                " has to be percent-encoded"
            ) from None
        return value

    return AfterValidator(check)


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("holds signs that an HTTP header cannot have")
    return SecretStr(token)


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone of the IANA database") from error
    return name


DatabaseUrl = Annotated[
    SecretStr,
    _url_with("postgres", "postgresql", host_required=False),
    _readable_by(conninfo_to_dict, "libpq"),
]
RedisUrl = Annotated[
    SecretStr,
    _url_with("redis", "rediss", "unix", host_required=False),
    _readable_by(redis.ConnectionPool.from_url, "redis"),
]
HttpUrl = Annotated[str, _url_with("http", "https", host_required=True)]


class Settings(BaseSettings):
    """What this process is told from outside; see `current()` and `load()`."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    # Servers
    database_url: DatabaseUrl | None = Field(
        default=None,
        description="PostgreSQL; a direct connection or session pooling, since liveness is a session's lock",
        examples=["postgresql://oms:password@db.example.com:5432/oms?sslmode=require"],
    )
    redis_url: RedisUrl | None = Field(
        default=None,
        description="Redis or Valkey; rediss:// for TLS",
        examples=["rediss://:password@redis.example.com:6379/0"],
    )
    redis_tls_verify: bool = Field(
        default=True,
        description="false accepts the self-signed certificate of some platforms' Redis",
        examples=["true"],
    )
    database_max_connections: int = Field(
        4,
        ge=1,
        le=100,
        description="pool of one worker process; one more is its liveness lock",
        examples=["4"],
    )
    redis_max_connections: int = Field(
        default=6, ge=2, le=100, description="pool of one process", examples=["6"]
    )

    # Schedule
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        default="UTC", description="the IANA zone in which crontabs are read", examples=["Europe/Istanbul"]
    )
    tick_seconds: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="seconds between two looks for missed slots, retries and dead workers",
        examples=["60"],
    )
    catch_up_seconds: int = Field(
        default=6 * 60 * 60,
        ge=0,
        le=365 * 24 * 60 * 60,
        description="seconds after which a missed slot is no longer run",
        examples=["21600"],
    )

    # Omnitron
    omnitron_url: HttpUrl | None = Field(
        default=None, description="the hub's address", examples=["https://merchant.omnitron.example.com"]
    )
    omnitron_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        default=None, description="API key; or a user name and password", examples=["0a1b2c3d"]
    )
    omnitron_username: str | None = Field(
        default=None, description="used where no token is set", examples=["oms"]
    )
    omnitron_password: SecretStr | None = Field(
        default=None, description="used where no token is set", examples=["secret"]
    )
    omnitron_concurrency: int = Field(
        default=8, ge=1, le=32, description="calls at the same time", examples=["8"]
    )
    omnitron_page_size: int = Field(default=100, ge=1, le=1000, description="orders a page", examples=["100"])
    omnitron_timeout_seconds: float = Field(
        default=10, gt=0, le=60, description="seconds to wait for an answer's next bytes", examples=["10"]
    )

    # Fulfilment
    replan_max_attempts: int = Field(
        default=0,
        ge=0,
        description="fruitless attempts after which a package is unavailable; 0 is without end",
        examples=["0"],
    )
    location_exclusion_seconds: int = Field(
        default=7 * 24 * 60 * 60,
        ge=0,
        description="seconds for which a line does not return to a location that has rejected it",
        examples=["604800"],
    )
    inventory_discrepancy_min_age: int = Field(
        default=0,
        ge=0,
        description="seconds before a discrepancy is cleared; 0 clears all of them each time",
        examples=["0"],
    )
    inventory_discrepancy_expiry_seconds: int = Field(
        default=24 * 60 * 60,
        ge=1,
        description="seconds after which a discrepancy is cleared whatever its minimum age",
        examples=["86400"],
    )

    _switches: "dict[str, Switch]" = PrivateAttr(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def switch(self, env_key: str) -> "Switch":
        """What the three variables of a task say; raises KeyError for a key that is none of ours."""
        return self._switches[env_key]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, _LocalServers(settings_cls)


class _LocalServers(PydanticBaseSettingsSource):
    """The servers that an `oms up` in another terminal is running, while it is."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name.lower(): value for name, value in _local_variables().items()}


def _local_variables() -> dict[str, str]:
    """What a running `oms up` has left for other terminals, or nothing."""
    try:
        variables: dict[str, Any] = json.loads(LOCAL_SERVERS.read_text())
        os.kill(variables.pop("pid"), 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return variables


@dataclass(frozen=True)
class Switch:
    """What the environment says of one task: on or off, and when, if other than by default."""

    enabled: bool
    cadence: Cadence | None
    source: str


@dataclass(frozen=True)
class Problem:
    """One variable that cannot be used: what it holds, why not, and what would be right."""

    variable: str
    value: str
    problem: str
    example: str

    def __str__(self) -> str:
        shown = f"{self.variable}={self.value}" if self.value else self.variable
        return f"{shown}: {self.problem}. Example: {self.variable}={self.example}"


class SettingsError(Exception):
    """The configuration cannot be used; every problem of every variable is named in one message."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 setting cannot be used:" if count == 1 else f"{count} settings cannot be used:"
        super().__init__("\n  ".join([heading, *map(str, self.problems)]))


_current: Settings | None = None


def current() -> Settings:
    """The settings of this process. The first call reads them, and exits with status 2 where they are wrong.

    Programs that are not ours, `dramatiq schedules` and `periodiq schedules`, come here first; `oms` calls
    `load()` before, since some of its commands need no server.
    """
    if _current is None:
        load_or_exit(need_servers=True)
    assert _current is not None
    return _current


def load_or_exit(*, need_servers: bool) -> Settings:
    """Like `load()`, but says what is wrong on standard error and exits with status 2."""
    try:
        return load(need_servers=need_servers)
    except SettingsError as error:
        exit_misconfigured(error)


def exit_misconfigured(error: Exception) -> NoReturn:
    print(error, file=sys.stderr, flush=True)  # noqa: T201 - logging may not be there yet
    raise SystemExit(EXIT_MISCONFIGURED) from None


def load(*, need_servers: bool) -> Settings:
    """Read and check every variable, and keep the result for `current()`.

    With `need_servers`, `DATABASE_URL` and `REDIS_URL` have to be set.
    Raises `SettingsError`.
    """
    global _current
    problems: list[Problem] = []
    general: Settings | None = None
    try:
        general = Settings()
    except ValidationError as error:
        problems += _problems_of(error)
    if need_servers and general is not None:
        problems += missing_servers(general)
    switches, switch_problems = _read_switches(environment(), general.zone if general else ZoneInfo("UTC"))
    problems += switch_problems
    if problems or general is None:
        raise SettingsError(problems)
    general._switches = switches
    _current = general
    return general


def environment() -> dict[str, str]:
    """The variables of `.env` and of the environment, without the empty ones; the environment wins."""
    layers: tuple[Mapping[str, str | None], ...] = (_local_variables(), dotenv_values(".env"), os.environ)
    return {name: value for layer in layers for name, value in layer.items() if value and value.strip()}


def warnings() -> list[str]:
    """What blocks nothing and yet is likely not meant; call it after `load()`."""
    found = [*_misspellings(environment())]
    for key in TASK_KEYS:
        switch = current().switch(key)
        if isinstance(switch.cadence, Crontab) and has_two_day_fields(switch.cadence.expression):
            found.append(
                f"{switch.source}={switch.cadence.expression}: gives both a day of the month and a day of"
                " the week; cron runs on either (Celery ran only on both)"
            )
    return found


def _misspellings(variables: Mapping[str, str]) -> Iterable[str]:
    keys = [key + suffix for key in TASK_KEYS for suffix in ("", "_CRONTAB", "_SCHEDULE")]
    known = {*keys, *(name.upper() for name in Settings.model_fields)}
    for name in sorted(set(variables) - known):
        for close in difflib.get_close_matches(name, keys, n=1, cutoff=_MISSPELLING_CUTOFF):
            yield f"{name} is not known and has no effect; is {close} meant?"


def missing_servers(settings: Settings) -> Iterable[Problem]:
    """What has to be set for anything that touches PostgreSQL or Redis."""
    for name in ("database_url", "redis_url"):
        if getattr(settings, name) is None:
            yield Problem(name.upper(), "", "is not set", _example(name))


def omnitron_problems(settings: Settings) -> Iterable[Problem]:
    """What the pull of orders cannot do without, while it is enabled."""
    if not settings.switch("OMNITRON_ORDERS").enabled:
        return
    if settings.omnitron_url is None:
        yield Problem(
            "OMNITRON_URL", "", "is not set, and OMNITRON_ORDERS is enabled", _example("omnitron_url")
        )
    if settings.omnitron_token is None and not (settings.omnitron_username and settings.omnitron_password):
        problem = (
            "is not set, nor are OMNITRON_USERNAME and OMNITRON_PASSWORD, and OMNITRON_ORDERS is enabled"
        )
        yield Problem("OMNITRON_TOKEN", "", problem, _example("omnitron_token"))


def _problems_of(error: ValidationError) -> Iterable[Problem]:
    for detail in error.errors(include_url=False, include_context=False):
        name = str(detail["loc"][0])
        field = Settings.model_fields.get(name)
        hidden = field is None or "SecretStr" in str(field.annotation)
        problem = detail["msg"].removeprefix("Value error, ")
        problem = problem[:1].lower() + problem[1:]
        yield Problem(
            name.upper(), "(hidden)" if hidden else _shown(detail["input"]), problem, _example(name)
        )


def _example(name: str) -> str:
    field = Settings.model_fields.get(name)
    return str(field.examples[0]) if field and field.examples else ""


def _shown(value: object) -> str:
    text = _USERINFO.sub("//(hidden)@", str(value))
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def _read_switches(variables: Mapping[str, str], zone: ZoneInfo) -> tuple[dict[str, Switch], list[Problem]]:
    problems: list[Problem] = []
    switches = {key: _read_switch(key, variables, zone, problems) for key in TASK_KEYS}
    return switches, problems


def _read_switch(key: str, variables: Mapping[str, str], zone: ZoneInfo, problems: list[Problem]) -> Switch:
    def read(variable: str, parse: Callable[[str], T], example: str) -> T | None:
        try:
            return parse(variables[variable]) if variable in variables else None
        except ValueError as error:
            problems.append(Problem(variable, _shown(variables[variable]), str(error), example))
            return None

    enabled = read(key, _read_bool, "false")
    seconds = read(f"{key}_SCHEDULE", parse_interval, INTERVAL_EXAMPLE)
    expression = read(f"{key}_CRONTAB", parse_crontab, CRONTAB_EXAMPLE)
    if f"{key}_CRONTAB" in variables and f"{key}_SCHEDULE" in variables:
        problem = f"is set together with {key}_SCHEDULE, and only one of them can be; unset one"
        problems.append(
            Problem(f"{key}_CRONTAB", _shown(variables[f"{key}_CRONTAB"]), problem, CRONTAB_EXAMPLE)
        )
    if expression is not None:
        return Switch(enabled is not False, Crontab(expression, zone), f"{key}_CRONTAB")
    if seconds is not None:
        return Switch(enabled is not False, Interval(seconds), f"{key}_SCHEDULE")
    return Switch(enabled is not False, None, "default")


def _read_bool(text: str) -> bool:
    try:
        return TypeAdapter(bool).validate_python(text.strip())
    except ValidationError:
        raise ValueError("is neither true nor false") from None
