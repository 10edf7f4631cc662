"""Omnitron's HTTP interface: the calls that the pull of orders makes, and what may go wrong with them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import uniform
from typing import Any

import requests
import urllib3
from requests.auth import AuthBase

import settings
from oms_workers.errors import OmsError
from oms_workers.orders.models import OmnitronStatus

CONNECT_TIMEOUT_SECONDS = 5

#: A read timeout bounds each read; a body that drips is bounded by these.
TOTAL_TIMEOUT_SECONDS = 60
MAX_BODY_BYTES = 32 * 1024 * 1024

#: Statuses that pass by themselves.
PASSING = frozenset({429, 502, 503, 504})
ATTEMPTS = 5
MAX_BACKOFF_SECONDS = 10.0

#: An order with more lines than these pages hold is none; a hub that ignores `page` never comes to an end.
MAX_ITEM_PAGES = 100

_CHUNK_BYTES = 64 * 1024

#: More than any key or amount has; Python refuses to read integers of some thousands.
_MOST_DIGITS = 100
_SHOWN_CHARACTERS = 200


class OmnitronError(OmsError):
    """A call to Omnitron did not bring what was promised; the message names the call."""


class OmnitronRefusedError(OmnitronError):
    """Omnitron does not accept our credentials: a matter of configuration, which no retry mends."""


@dataclass(frozen=True)
class Page:
    """One page of a list, and whether there is another."""

    results: list[Any]
    has_next: bool


class Omnitron:
    """A client that may be used by several threads, each with a session of its own, until its block ends.

    `wait` is asked to wait so many seconds, and answers False when there is no time for that.
    """

    def __init__(self, configuration: settings.Settings, wait: Callable[[float], bool]) -> None:
        problems = [*settings.omnitron_problems(configuration)]
        if configuration.omnitron_url is None or problems:
            raise settings.SettingsError(problems)
        self._configuration = configuration
        self._url = configuration.omnitron_url.rstrip("/")
        self._wait = wait
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self._token = (
            configuration.omnitron_token.get_secret_value() if configuration.omnitron_token else None
        )
        self._refused: OmnitronRefusedError | None = None
        self._not_before = 0.0

    def __repr__(self) -> str:
        return f"<Omnitron {self._url}>"

    def __enter__(self) -> "Omnitron":
        return self

    def __exit__(self, *_: object) -> None:
        """End the connections of all threads that have made calls."""
        for session in self._sessions:
            session.close()

    def orders(self, page: int) -> Page:
        """A page of the approved orders that we have not acknowledged; empty where there is no such page."""
        limit = self._configuration.omnitron_page_size
        parameters = {
            "status": OmnitronStatus.APPROVED.value,
            "is_send": "false",
            "limit": limit,
            "page": page,
        }
        # Pages shift while we read: a later one may be gone. The first is always there.
        gone: Any = {"results": [], "next": None} if page > 1 else None
        found = self._call("GET", "/api/i1/orders/", parameters, absent=gone)
        return _page(found, "GET /api/i1/orders/")

    def items(self, order: int) -> list[Any]:
        """The lines of an order, from all their pages."""
        return [*self._items(order)]

    def acknowledge(self, order: int) -> None:
        """Say that we have the order, so that it is not offered again."""
        self._call("PATCH", f"/api/v1/orders/{order}/", body={"is_send": True}, forbidden_to_all=False)

    def _items(self, order: int) -> Iterator[Any]:
        call = "GET /api/v1/order_items/"
        for page in range(1, MAX_ITEM_PAGES + 1):
            parameters = {"order": order, "limit": self._configuration.omnitron_page_size, "page": page}
            found = _page(self._call("GET", "/api/v1/order_items/", parameters, forbidden_to_all=False), call)
            yield from found.results
            if not found.has_next:
                return
        raise OmnitronError(f"{call} of order {order} has no end after {MAX_ITEM_PAGES} pages.")

    def _call(
        self,
        method: str,
        path: str,
        parameters: Any = None,
        *,
        body: Any = None,
        absent: Any = None,
        forbidden_to_all: bool = True,
    ) -> Any:
        """The answer's JSON, after as many tries as it deserves; `absent` stands for a 404, where given.

        A 403 about one order says nothing about our credentials: then it is not `forbidden_to_all`.
        """
        call = f"{method} {path}"
        for attempt in range(1, ATTEMPTS + 1):
            problem, pause = "", min(MAX_BACKOFF_SECONDS, 0.5 * 2**attempt) * uniform(0.5, 1)
            self._await_turn(call)
            if not self._wait(0):
                raise OmnitronError(f"{call} was not sent: the run has to stop.")
            try:
                status, headers, content = self._send(method, path, parameters, body)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem = f"{call} got no answer from OMNITRON_URL={self._url}: {_innermost(error)}"
            else:
                if status == 404 and absent is not None:
                    return absent
                if 300 <= status < 400:
                    where = headers.get("Location", "somewhere else")
                    raise OmnitronError(
                        f"{call} answered {status}: OMNITRON_URL={self._url} has moved to {where!r}; set it."
                    )
                if status not in PASSING:
                    return self._read(call, status, content, forbidden_to_all=forbidden_to_all)
                problem = f"{call} answered {status}"
                pause = max(pause, _retry_after(headers.get("Retry-After")))
                self._hold_back(status, pause)
            if attempt < ATTEMPTS and not self._wait(pause):
                raise OmnitronError(f"{problem}; no time is left to wait {pause:.0f} s for another try.")
        raise OmnitronError(f"{problem}, {ATTEMPTS} times.")

    def _send(self, method: str, path: str, parameters: Any, body: Any) -> tuple[int, Any, bytes]:
        auth = _Token(self._authorize())
        answered: list[requests.Response] = []
        try:
            response = self._session.request(
                method,
                self._url + path,
                params=parameters,
                json=body,
                auth=auth,
                timeout=(CONNECT_TIMEOUT_SECONDS, self._configuration.omnitron_timeout_seconds),
                allow_redirects=False,
                stream=True,
                # An answer that the library chokes on would not be handed over, nor its connection closed.
                hooks={"response": lambda answer, **_: answered.append(answer)},
            )
            return response.status_code, response.headers, _read_bounded(response)
        except BaseException:
            for answer in answered:
                answer.close()
            raise

    def _read(self, call: str, status: int, content: bytes, *, forbidden_to_all: bool) -> Any:
        if status == 401 or (status == 403 and forbidden_to_all):
            self._refused = OmnitronRefusedError(
                f"Omnitron refuses our credentials ({call} answered {status}); set OMNITRON_TOKEN,"
                " or OMNITRON_USERNAME and OMNITRON_PASSWORD, to ones that it accepts."
            )
            raise self._refused
        if status == 204:
            return None
        if not 200 <= status < 300:
            raise OmnitronError(f"{call} answered {status}: {_shown(content)}")
        try:
            # Bytes that are no text, and numbers that Python does not read, are an order's own affair.
            return json.loads(content.decode(errors="surrogateescape"), parse_int=_int_or_text)
        except (ValueError, RecursionError):
            raise OmnitronError(f"{call} answered {status} with what is no JSON: {_shown(content)}") from None

    def _authorize(self) -> str:
        """The token; the first of all threads logs in for it where only a user name is set."""
        with self._lock:
            if self._refused is not None:
                raise self._refused
            if self._token is None:
                self._token = self._log_in()
            return self._token

    def _log_in(self) -> str:
        call, password = "POST /api/v1/auth/login/", self._configuration.omnitron_password
        response = self._session.post(
            f"{self._url}/api/v1/auth/login/",
            json={
                "username": self._configuration.omnitron_username,
                "password": password.get_secret_value() if password else None,
            },
            timeout=(CONNECT_TIMEOUT_SECONDS, self._configuration.omnitron_timeout_seconds),
            allow_redirects=False,
        )
        if response.status_code in (400, 401, 403):
            self._refused = OmnitronRefusedError(
                f"Omnitron refuses OMNITRON_USERNAME and OMNITRON_PASSWORD ({call} answered"
                f" {response.status_code})."
            )
            raise self._refused
        if response.status_code in PASSING:
            # As if there had been no answer: the call that needs the token is tried again.
            raise requests.ConnectionError(f"the login answered {response.status_code}")
        try:
            return str(response.json()["key"])
        except (ValueError, KeyError, TypeError):
            raise OmnitronError(f"{call} answered {response.status_code} without a key.") from None

    def _await_turn(self, call: str) -> None:
        """What one thread was told, to slow down, holds for all of them."""
        pause = self._not_before - time.monotonic()
        if pause > 0 and not self._wait(pause):
            raise OmnitronError(f"{call} was not sent: Omnitron asked for {pause:.0f} s more of silence.")

    def _hold_back(self, status: int, pause: float) -> None:
        if status == 429:
            self._not_before = max(self._not_before, time.monotonic() + pause)

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._sessions.append(self._local.session)
        session: requests.Session = self._local.session
        return session


class _Token(AuthBase):
    """The header, as an authentication of its own: a `.netrc` entry would replace a mere header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token {self._token}"
        return request


def _page(found: Any, call: str) -> Page:
    if not isinstance(found, dict) or not isinstance(found.get("results"), list):
        raise OmnitronError(f"{call} answered without a list of results.")
    return Page(found["results"], bool(found.get("next")))


def _read_bounded(response: requests.Response) -> bytes:
    deadline = time.monotonic() + TOTAL_TIMEOUT_SECONDS
    content = bytearray()
    # One read of the socket at a time. Each byte starts the read timeout anew, so that a read of a whole
    # chunk of a dripping body would never come back.
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise requests.exceptions.ContentDecodingError(f"more than {MAX_BODY_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout(f"not whole within {TOTAL_TIMEOUT_SECONDS} s")
    return bytes(content)


def _retry_after(header: str | None) -> float:
    """The seconds that a `Retry-After` asks for, in either of its two forms (RFC 9110, 10.2.3)."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _innermost(error: BaseException) -> str:
    """The last of the causes, such as `[Errno 111] Connection refused`, with which users can do something."""
    while isinstance(cause := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = cause
    return f"{type(error).__name__}: {str(error).rpartition(': ')[2]}"


def _shown(content: bytes) -> str:
    return repr(content[:_SHOWN_CHARACTERS].decode(errors="replace"))
