"""Every environment variable, grouped, with its unit; read from the environment or a `.env` file.

The environment wins over `.env`, which wins over what a running `oms up` has left for other terminals.
An empty value means unset. Everything wrong is reported together, and no secret is ever shown.
"""

import sys
from collections.abc import Iterable
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from oms_workers.configuration.cadence import Crontab, has_two_day_fields
from oms_workers.configuration.environment import (
    LOCAL_DIRECTORY,
    LOCAL_SERVERS,
    environment,
    problems_of_dotenv,
)
from oms_workers.configuration.misspellings import misspellings
from oms_workers.configuration.problems import Problem, SettingsError, left_in, shown_safely
from oms_workers.configuration.switches import TASK_KEYS, TASK_VARIABLES, Switch, read_switches
from oms_workers.configuration.values import (
    DatabaseUrl,
    HttpUrl,
    Names,
    Number,
    PersonName,
    RedisUrl,
    Seconds,
    SecondsOrParts,
    TimeZoneName,
    Token,
)

__all__ = [
    "EXIT_MISCONFIGURED",
    "LOCAL_DIRECTORY",
    "LOCAL_SERVERS",
    "TASK_KEYS",
    "TASK_VARIABLES",
    "Problem",
    "Settings",
    "SettingsError",
    "Switch",
    "current",
    "environment",
    "exit_misconfigured",
    "load",
    "load_or_exit",
    "missing_servers",
    "omnitron_problems",
    "warnings",
]

#: The exit status of every program here that is given a configuration it cannot use.
EXIT_MISCONFIGURED = 2

#: How old may become what is kept for a while: more is a mistake, and far more overflows a date.
_YEAR_SECONDS = 365 * 24 * 60 * 60

#: Ten years. Whoever keeps more for longer has another place for it.
_MOST_DAYS = 3650

#: More rows than a table of ours holds on any disk that a merchant has.
_MOST_ROWS = 1_000_000_000

#: Credentials may be quoted and hold a number sign, so that either is only likely not meant.
_AS_IT_IS = ("OMNITRON_USERNAME", "OMNITRON_PASSWORD")


def _days(default: int, description: str) -> Any:
    """A limit by age."""
    return Field(default=default, ge=1, le=_MOST_DAYS, description=description, examples=[str(default)])


def _most_rows(default: int, description: str) -> Any:
    """A limit by count. Fewer than a thousand rows would go before anybody has seen them."""
    return Field(
        default=default,
        ge=1_000,
        le=_MOST_ROWS,
        description=f"The most that there may be: {description[:1].lower()}{description[1:]}",
        examples=[str(default)],
    )


class Settings(BaseSettings):
    """What this process is told from outside; see `current()` and `load()`."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    # Servers
    database_url: DatabaseUrl | None = Field(
        default=None,
        description="Address of PostgreSQL. Connect directly, or through a pooler in session mode.",
        examples=["postgresql://oms:password@db.example.com:5432/oms?sslmode=require"],
    )
    redis_url: RedisUrl | None = Field(
        default=None,
        description="Address of Redis or Valkey. Use rediss:// for TLS.",
        examples=["rediss://:password@redis.example.com:6379/0"],
    )
    redis_tls_verify: bool = Field(
        default=True,
        description="Verify the certificate of Redis. Some platforms sign their own and need false.",
        examples=["true"],
    )
    database_max_connections: Number = Field(
        4,
        ge=1,
        le=100,
        description="Connections to PostgreSQL of one worker process. Its lock and the tick need two more.",
        examples=["4"],
    )
    redis_max_connections: Number = Field(
        default=6, ge=2, le=100, description="Connections to Redis of one process.", examples=["6"]
    )

    # Schedule
    time_zone: TimeZoneName = Field(
        default="UTC",
        description="IANA time zone in which crontabs are read.",
        examples=["Europe/Istanbul"],
    )
    tick_seconds: Seconds = Field(
        default=60,
        ge=1,
        le=3600,
        description="Time between two looks for missed slots, due retries and dead workers.",
        examples=["60"],
    )
    catch_up_seconds: Seconds = Field(
        default=6 * 60 * 60,
        ge=0,
        le=_YEAR_SECONDS,
        description="A missed slot that is older is not run any more.",
        examples=["21600"],
    )

    # Omnitron
    omnitron_url: HttpUrl | None = Field(
        default=None,
        description="Address of Omnitron.",
        examples=["https://merchant.omnitron.example.com"],
    )
    omnitron_token: Token | None = Field(
        default=None, description="API key of Omnitron.", examples=["0a1b2c3d"]
    )
    omnitron_username: str | None = Field(
        default=None, description="User name for Omnitron. Used where no token is set.", examples=["oms"]
    )
    omnitron_password: SecretStr | None = Field(
        default=None, description="Password for Omnitron. Used where no token is set.", examples=["secret"]
    )
    omnitron_concurrency: Number = Field(
        default=8, ge=1, le=32, description="Calls to Omnitron at the same time.", examples=["8"]
    )
    omnitron_page_size: Number = Field(
        default=100, ge=1, le=1000, description="Orders that one call asks for.", examples=["100"]
    )
    omnitron_timeout_seconds: SecondsOrParts = Field(
        default=10,
        ge=0.1,
        le=60,
        description="How long a call to Omnitron waits for the next bytes of the answer.",
        examples=["10"],
    )

    # Fulfilment
    replan_max_attempts: Number = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="A package becomes unavailable after so many attempts without success. 0 means no limit.",
        examples=["0"],
    )
    location_exclusion_seconds: Seconds = Field(
        default=7 * 24 * 60 * 60,
        ge=0,
        le=10 * _YEAR_SECONDS,
        description="How long a line is kept away from a location that has rejected it.",
        examples=["604800"],
    )
    inventory_discrepancy_min_age: Seconds = Field(
        default=0,
        ge=0,
        le=_YEAR_SECONDS,
        description="A younger discrepancy is not cleared yet. 0 clears every discrepancy at each run.",
        examples=["0"],
    )
    inventory_discrepancy_expiry_seconds: Seconds = Field(
        default=24 * 60 * 60,
        ge=1,
        le=_YEAR_SECONDS,
        description="An older discrepancy is cleared, whatever INVENTORY_DISCREPANCY_MIN_AGE says.",
        examples=["86400"],
    )

    # Housekeeping
    db_maintenance_tables: Names = Field(
        default=(
            "orders,order_items,order_execution_plans,packages,package_items,transfer_orders,"
            "reservations,stock,stock_movements,audit_events,archived_audit_events,scheduled_runs"
        ),
        description="Tables that the task db-maintenance vacuums and analyzes, in this order.",
        examples=["orders,stock,reservations"],
    )
    audit_events_older_than_days: Number = _days(120, "Events that are older go to the archive.")
    audit_events_max_rows: Number = _most_rows(50_000_000, "Events outside of the archive. More go to it.")
    archived_audit_events_days: Number = _days(730, "Archived events that are older are deleted.")
    archived_audit_events_max_rows: Number = _most_rows(200_000_000, "Archived ones. More are deleted.")
    scheduled_runs_days: Number = _days(30, "Runs that are older are deleted from the ledger.")
    scheduled_runs_max_rows: Number = _most_rows(1_000_000, "Runs in the ledger. The oldest of more go.")
    rejected_orders_days: Number = _days(90, "Rejected orders that have not changed for longer are deleted.")
    rejected_orders_max_rows: Number = _most_rows(100_000, "Rejected orders. The oldest of more are deleted.")
    stock_movements_days: Number = _days(90, "Movements of stock that are older are summed up.")
    stock_movements_max_rows: Number = _most_rows(20_000_000, "Movements. The oldest of more are summed up.")
    released_reservations_days: Number = _days(90, "Reservations that ended earlier are deleted.")
    released_reservations_max_rows: Number = _most_rows(10_000_000, "Ended ones. More are deleted.")
    excluded_locations_days: Number = _days(30, "Exclusions of locations that ended earlier are deleted.")
    excluded_locations_max_rows: Number = _most_rows(1_000_000, "Exclusions. The oldest of more are deleted.")
    plan_traces_days: Number = _days(180, "Plans that are older lose their trace.")
    plan_traces_max_rows: Number = _most_rows(5_000_000, "Plans with a trace. The oldest of more lose it.")
    table_sizes_days: Number = _days(400, "Measurements of our tables' sizes that are older are deleted.")
    table_sizes_max_rows: Number = _most_rows(100_000, "Measurements. The oldest of more are deleted.")

    # People
    oms_actor: PersonName | None = Field(
        default=None,
        description="Who is at the command line, for the audit trail. Without it, it is the system's user.",
        examples=["ada"],
    )

    _switches: dict[str, Switch] = PrivateAttr(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def switch(self, env_key: str) -> Switch:
        """What the three variables of a task say; raises KeyError for a key that is none of ours."""
        return self._switches[env_key]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)


class _Environment(PydanticBaseSettingsSource):
    """The same variables that the tasks' own are read from."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name.lower(): value for name, value in environment().items()}


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


def load_or_exit(*, need_servers: bool, need_omnitron: bool = False) -> Settings:
    """Like `load()`, but says what is wrong on standard error and exits with status 2."""
    try:
        return load(need_servers=need_servers, need_omnitron=need_omnitron)
    except SettingsError as error:
        exit_misconfigured(error)


def exit_misconfigured(error: Exception) -> NoReturn:
    print(error, file=sys.stderr, flush=True)  # noqa: T201 - logging may not be there yet
    raise SystemExit(EXIT_MISCONFIGURED) from None


def load(*, need_servers: bool, need_omnitron: bool = False) -> Settings:
    """Read and check every variable, and keep the result for `current()`.

    With `need_servers`, `DATABASE_URL` and `REDIS_URL` have to be set, and with `need_omnitron` what the pull
    of orders needs, while it is enabled.
    Raises `SettingsError`.
    """
    global _current
    problems = [*problems_of_dotenv()]
    general: Settings | None = None
    try:
        general = Settings()
    except ValidationError as error:
        problems += _problems_of(error)
    if need_servers:
        problems += missing_servers()
    switches, switch_problems = read_switches(environment(), general.zone if general else ZoneInfo("UTC"))
    problems += switch_problems
    if general is not None:
        general._switches = switches
        if need_omnitron and general.switch("OMNITRON_ORDERS").enabled:
            problems += omnitron_problems(general)
    if problems or general is None:
        raise SettingsError(problems)
    _current = general
    return general


def warnings() -> list[str]:
    """What blocks nothing and yet is likely not meant; call it after `load()`."""
    found = [*misspellings(environment(), TASK_VARIABLES, map(str.upper, Settings.model_fields))]
    for key in TASK_KEYS:
        switch = current().switch(key)
        if isinstance(switch.cadence, Crontab) and has_two_day_fields(switch.cadence.expression):
            found.append(
                f"{switch.source}={switch.cadence.expression}: gives both a day of the month and a day of"
                " the week; cron runs on either (Celery ran only on both)"
            )
    # Both ages count from the event itself.
    moved, kept = current().audit_events_older_than_days, current().archived_audit_events_days
    if kept <= moved:
        found.append(
            f"ARCHIVED_AUDIT_EVENTS_DAYS={kept} is not more than AUDIT_EVENTS_OLDER_THAN_DAYS={moved}, so the"
            " archive keeps nothing"
        )
    given = environment()
    left = {name: left_in(given.get(name, "")) for name in _AS_IT_IS}
    return [*found, *(f"{name} {problem}, unless it is so" for name, problem in left.items() if problem)]


def missing_servers() -> Iterable[Problem]:
    """What has to be set for anything that touches PostgreSQL or Redis."""
    given = environment()
    for name in ("database_url", "redis_url"):
        if name.upper() not in given:
            yield Problem(name.upper(), "", "is not set", _example(name))


def omnitron_problems(settings: Settings) -> Iterable[Problem]:
    """What the pull of orders cannot do without."""
    if settings.omnitron_url is None:
        problem = "is not set, and OMNITRON_ORDERS needs it"
        yield Problem("OMNITRON_URL", "", problem, _example("omnitron_url"))
    if settings.omnitron_token is None and not (settings.omnitron_username and settings.omnitron_password):
        problem = (
            "is not set, nor are OMNITRON_USERNAME and OMNITRON_PASSWORD, and OMNITRON_ORDERS needs them"
        )
        yield Problem("OMNITRON_TOKEN", "", problem, _example("omnitron_token"))


def _problems_of(error: ValidationError) -> Iterable[Problem]:
    given = environment()
    for detail in error.errors(include_url=False, include_context=False):
        name = str(detail["loc"][0])
        value = given.get(name.upper(), str(detail["input"]))
        field = Settings.model_fields.get(name)
        hidden = field is None or "SecretStr" in str(field.annotation)
        problem = left_in(value) or detail["msg"].removeprefix("Value error, ")
        problem = problem[:1].lower() + problem[1:]
        yield Problem(name.upper(), "(hidden)" if hidden else shown_safely(value), problem, _example(name))


def _example(name: str) -> str:
    field = Settings.model_fields.get(name)
    return str(field.examples[0]) if field and field.examples else ""
