"""HTTP to Omnitron: one call with its retries, its bounds in time and size, and its token.

    transport.call("PATCH", "/api/v1/orders/7/", body={"is_send": True}, about_one=True)

`client.py` has the calls by their names.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import uniform
from typing import Any, NamedTuple

import requests
import urllib3

import settings
from oms_workers.orders.answers import (
    OmnitronAnswerError,
    OmnitronError,
    OmnitronRefusedError,
    is_json,
    read_json,
    shown,
)
from oms_workers.orders.credentials import Credentials, TokenAuth

CONNECT_TIMEOUT_SECONDS = 5

#: A read timeout bounds each read; a body that drips is bounded by these.
TOTAL_TIMEOUT_SECONDS = 60
MAX_BODY_BYTES = 32 * 1024 * 1024

#: Statuses that pass by themselves.
PASSING = frozenset({429, 502, 503, 504})
ATTEMPTS = 5
MAX_BACKOFF_SECONDS = 10.0

LOGIN = "/api/v1/auth/login/"

_CHUNK_BYTES = 64 * 1024


class _TooLargeError(Exception):
    """A body has more bytes than we read."""


class _Answer(NamedTuple):
    status: int
    headers: Any
    content: bytes


class Transport:
    """Calls by several threads, each with a session of its own, until `close()`.

    `wait` is asked to wait so many seconds, and answers False when there is no time for that.
    """

    def __init__(self, configuration: settings.Settings, wait: Callable[[float], bool]) -> None:
        problems = [*settings.omnitron_problems(configuration)]
        if configuration.omnitron_url is None or problems:
            raise settings.SettingsError(problems)
        self.url = configuration.omnitron_url.rstrip("/")
        self._configuration = configuration
        self._wait = wait
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._credentials = Credentials(configuration, self._log_in, wait)
        self._not_before = 0.0

    def close(self) -> None:
        """End the connections of all threads that have made calls."""
        for session in self._sessions:
            session.close()

    def call(
        self,
        method: str,
        path: str,
        parameters: Any = None,
        *,
        body: Any = None,
        absent: Any = None,
        about_one: bool = False,
    ) -> Any:
        """The answer's JSON, after as many tries as it deserves; None for one without a body.

        `absent` stands for a 404 in JSON, where given. A 403 to a call `about_one` order says nothing about
        our credentials. Raises `OmnitronAnswerError` for an answer of no use, `OmnitronRefusedError` for
        refused credentials, and `OmnitronError` where no answer came in time.
        """
        call = f"{method} {path}"
        for attempt in range(1, ATTEMPTS + 1):
            pause = min(MAX_BACKOFF_SECONDS, 0.5 * 2**attempt) * uniform(0.5, 1)
            self._await_turn(call)
            try:
                answer = self._ask(call, method, path, parameters, body)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem = f"{call} got no answer from OMNITRON_URL={self.url}: {_innermost(error)}"
            else:
                if answer.status not in PASSING:
                    return self._read(call, answer, absent=absent, about_one=about_one)
                problem = f"{call} answered {answer.status}"
                pause = max(pause, _retry_after(answer.headers.get("Retry-After")))
                self._hold_back(answer.status, pause)
            if attempt < ATTEMPTS and not self._wait(pause):
                raise OmnitronError(f"{problem}; no time is left to wait {pause:.0f} s for another try.")
        raise OmnitronError(f"{problem}, {ATTEMPTS} times.")

    def _ask(self, call: str, method: str, path: str, parameters: Any, body: Any) -> _Answer:
        """One try; a token that has ended in the meantime is renewed once."""
        token = self._credentials.token()
        try:
            answer = self._send(method, path, parameters, body, token)
            if answer.status == 401 and self._credentials.renew(token):
                answer = self._send(method, path, parameters, body, self._credentials.token())
            return answer
        except _TooLargeError as error:
            raise OmnitronAnswerError(f"{call} answered with {error}.") from None

    def _send(self, method: str, path: str, parameters: Any, body: Any, token: str | None) -> _Answer:
        answered: list[requests.Response] = []
        try:
            response = self._session.request(
                method,
                self.url + path,
                params=parameters,
                json=body,
                auth=TokenAuth(token) if token is not None else None,
                timeout=(CONNECT_TIMEOUT_SECONDS, self._configuration.omnitron_timeout_seconds),
                allow_redirects=False,
                stream=True,
                # An answer that the library chokes on would not be handed over, nor its connection closed.
                hooks={"response": lambda answer, **_: answered.append(answer)},
            )
            return _Answer(response.status_code, response.headers, _read_bounded(response))
        except BaseException:
            for answer in answered:
                answer.close()
            raise

    def _read(self, call: str, answer: _Answer, *, absent: Any, about_one: bool) -> Any:
        status, headers, content = answer
        kind = headers.get("Content-Type")
        if status == 401 or (status == 403 and not about_one):
            raise self._credentials.refuse(
                OmnitronRefusedError(
                    f"Omnitron refuses our credentials ({call} answered {status}); set OMNITRON_TOKEN,"
                    " or OMNITRON_USERNAME and OMNITRON_PASSWORD, to ones that it accepts."
                )
            )
        if status == 404 and absent is not None and is_json(content, kind):
            return absent
        if 300 <= status < 400:
            where = headers.get("Location", "somewhere else")
            raise OmnitronError(
                f"{call} answered {status}: OMNITRON_URL={self.url} has moved to {where!r}; set it."
            )
        if status == 204:
            return None
        if not 200 <= status < 300:
            raise OmnitronAnswerError(f"{call} answered {status}: {shown(content)}")
        try:
            return read_json(content, kind)
        except (ValueError, RecursionError) as error:
            why = ", since it is nested too deeply" * isinstance(error, RecursionError)
            raise OmnitronAnswerError(
                f"{call} answered {status} with what is no JSON{why}: {shown(content)}"
            ) from None

    def _log_in(self) -> str:
        """The token of a login; where it has no answer, the call that needs the token tries again."""
        call, configuration = f"POST {LOGIN}", self._configuration
        password = configuration.omnitron_password
        given = {
            "username": configuration.omnitron_username,
            "password": password.get_secret_value() if password else None,
        }
        status, headers, content = self._send("POST", LOGIN, None, given, None)
        if status in (400, 401, 403):
            raise OmnitronRefusedError(
                f"Omnitron refuses OMNITRON_USERNAME and OMNITRON_PASSWORD ({call} answered {status})."
            )
        if status in PASSING:
            raise requests.ConnectionError(f"the login answered {status}")
        try:
            return str(read_json(content, headers.get("Content-Type"))["key"])
        except (ValueError, RecursionError, KeyError, TypeError):
            raise OmnitronError(f"{call} answered {status} without a key.") from None

    def _await_turn(self, call: str) -> None:
        """What one thread was told, to slow down, holds for all of them."""
        pause = self._not_before - time.monotonic()
        if pause > 0 and not self._wait(pause):
            raise OmnitronError(f"{call} was not sent: Omnitron asked for {pause:.0f} s more of silence.")
        if not self._wait(0):
            raise OmnitronError(f"{call} was not sent: the run has to stop.")

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


def _read_bounded(response: requests.Response) -> bytes:
    deadline = time.monotonic() + TOTAL_TIMEOUT_SECONDS
    content = bytearray()
    # One read of the socket at a time. Each byte starts the read timeout anew, so that a read of a whole
    # chunk of a dripping body would never come back.
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise _TooLargeError(f"more than {MAX_BODY_BYTES} bytes")
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


def _innermost(error: BaseException) -> str:
    """The last of the causes, such as `[Errno 111] Connection refused`, with which users can do something."""
    while isinstance(cause := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = cause
    return f"{type(error).__name__}: {str(error).rpartition(': ')[2]}"
