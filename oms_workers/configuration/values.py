"""What a variable's value has to be, checked by whoever will use it; a secret is never quoted."""

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import redis
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BeforeValidator, SecretStr

from oms_workers.configuration.problems import left_in
from oms_workers.configuration.products import read_digits, read_product

_DIGITS = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")

#: As long as a name of a person or a program gets.
_MOST_OF_A_NAME = 100

#: What zoneinfo finds on some machines and is no zone of the IANA database.
_MACHINES_OWN_ZONES = ("localtime", "posixrules")

#: What may stand in REDIS_URL after a question mark. Others are not known, or undo what the queues need.
REDIS_OPTIONS = frozenset(
    {"client_name", "db", "health_check_interval", "password", "protocol", "socket_connect_timeout"}
    | {"socket_timeout", "username"}
)
REDIS_TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)


def _url_with(*schemes: str, host_required: bool) -> AfterValidator:
    def check(value: Any) -> Any:
        url = value.get_secret_value() if isinstance(value, SecretStr) else value
        if problem := left_in(url):
            raise ValueError(problem)
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - the property raises where the port is no number
        except ValueError as error:
            raise ValueError("is not a URL") from error
        if parts.scheme not in schemes:
            # Not quoted: of an address that is not one, the scheme may be the password's beginning.
            raise ValueError(f"does not begin with {' or '.join(f'{scheme}:' for scheme in schemes)}")
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


def _database_address(value: SecretStr) -> SecretStr:
    """libpq ends the password at the first @, and would show the rest of it as the name of the host."""
    if urlsplit(value.get_secret_value()).netloc.count("@") > 1:
        raise ValueError("has more than one @; one of the password has to be written as %40")
    return value


def _redis_address(value: SecretStr) -> SecretStr:
    """What redis-py would take in silence for something else, or refuse at the first connection only."""
    parts = urlsplit(value.get_secret_value())
    known = REDIS_OPTIONS | (REDIS_TLS_OPTIONS if parts.scheme == "rediss" else frozenset())
    if parts.fragment:
        raise ValueError("has a #; one of the password has to be written as %23")
    if not parts.hostname:
        raise ValueError("names no host")
    if not re.fullmatch(r"/?[0-9]*", parts.path):
        raise ValueError("has something other than the number of a database after the host")
    given = {part.partition("=")[0] for part in parts.query.split("&") if part}
    if given - known:
        # Not quoted: of a password with a ? in it, the option may be the rest.
        raise ValueError(
            f"has an option that cannot be used; with {parts.scheme}: there are {', '.join(sorted(known))}"
        )
    return value


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()
    if problem := left_in(token):
        raise ValueError(problem)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("holds signs that an HTTP header cannot have")
    return SecretStr(token)


def _whole_number(value: Any) -> Any:
    """A default is a number already; pydantic would take `1_000` and `1.0` for whole numbers too."""
    if not isinstance(value, str):
        return value
    if not _DIGITS.fullmatch(value.strip()):
        raise ValueError("is not a whole number")
    return read_digits(value.strip())


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    seconds = read_product(value)
    if seconds is None:
        raise ValueError("is not whole seconds, nor a product of them such as 60*60")
    return seconds


def _seconds_or_parts(value: Any) -> Any:
    """A timeout may also have parts of a second."""
    is_decimal = isinstance(value, str) and _DECIMAL.fullmatch(value.strip())
    return float(value) if is_decimal else _seconds(value)


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone of the IANA database") from error
    if name in _MACHINES_OWN_ZONES:
        raise ValueError("means another zone on another machine")
    return name


def _names(value: str) -> str:
    """Names with commas between them. Whether a table is called so is the catalogue's to say."""
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise ValueError("has a comma without a name beside it")
    return ",".join(dict.fromkeys(names))


def _person(value: str) -> str:
    if len(value) > _MOST_OF_A_NAME or not value.isprintable():
        raise ValueError(f"is not a name of at most {_MOST_OF_A_NAME} signs that can be printed")
    return value.strip()


DatabaseUrl = Annotated[
    SecretStr,
    _url_with("postgres", "postgresql", host_required=False),
    AfterValidator(_database_address),
    _readable_by(conninfo_to_dict, "libpq"),
]
RedisUrl = Annotated[
    SecretStr,
    _url_with("redis", "rediss", host_required=False),
    AfterValidator(_redis_address),
    _readable_by(lambda url: redis.ConnectionPool.from_url(url).make_connection(), "redis"),
]
HttpUrl = Annotated[str, _url_with("http", "https", host_required=True)]
Token = Annotated[SecretStr, AfterValidator(_token)]
Names = Annotated[str, AfterValidator(_names)]
PersonName = Annotated[str, AfterValidator(_person)]
Number = Annotated[int, BeforeValidator(_whole_number)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
SecondsOrParts = Annotated[float, BeforeValidator(_seconds_or_parts)]
TimeZoneName = Annotated[str, AfterValidator(_time_zone)]
