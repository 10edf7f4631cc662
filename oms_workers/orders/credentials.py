"""The token for Omnitron: set by a variable, or got by one login that all processes share through Redis.

A login's token is a secret. In Redis it has an expiry, and a name that does not show the password. Without
Redis each client logs in by itself.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

import redis
from requests.auth import AuthBase

import settings
from oms_workers import broker
from oms_workers.orders.answers import OmnitronRefusedError
from oms_workers.silence import why

logger = logging.getLogger(__name__)

#: How long a login is used. Omnitron does not say how long a token lives; one that ends is renewed.
SHARED_SECONDS = 12 * 60 * 60

#: How long nobody logs in again with a password that was refused: hubs lock accounts that go on trying.
REFUSED_SECONDS = 300

#: Longer than a login may take, with its timeouts as they are by default; another process may then log in.
LOGIN_SECONDS = 120
_LOOK_SECONDS = 0.2

#: Slow enough that the name of a key in Redis is no way to find out the password.
_ROUNDS = 100_000

#: Deletes the lock if it is still ours.
_UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"


class TokenAuth(AuthBase):
    """The header, as an authentication of its own: a `.netrc` entry would replace a mere header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Token {self._token}"
        return request


class Credentials:
    """The token of one client, for all of its threads.

    `log_in` makes a login and returns its token; it raises `OmnitronRefusedError` for a wrong password.
    `wait` is asked to wait so many seconds, and answers False when there is no time for that.
    """

    def __init__(
        self, configuration: settings.Settings, log_in: Callable[[], str], wait: Callable[[float], bool]
    ) -> None:
        fixed = configuration.omnitron_token
        self._token = fixed.get_secret_value() if fixed else None
        self._renewable = fixed is None
        self._log_in = log_in
        self._lock = threading.Lock()
        self._refused: OmnitronRefusedError | None = None
        self._shared = _SharedToken(configuration, wait)

    def __repr__(self) -> str:
        return "<Credentials>"

    def token(self) -> str:
        """The token. The first of all threads and processes logs in for it where only a user name is set.

        Raises `OmnitronRefusedError` once Omnitron has refused it, so that nobody sends it again.
        """
        with self._lock:
            if self._refused is not None:
                raise self._refused
            if self._token is None:
                self._token = self._shared.get() or self._renewed(None)
            return self._token

    def renew(self, refused_token: str) -> bool:
        """Replace a token that was answered with 401; False where it cannot be, since it was set."""
        with self._lock:
            if not self._renewable or self._refused is not None:
                return False
            if self._token == refused_token:
                self._token = self._renewed(refused_token)
            return True

    def refuse(self, error: OmnitronRefusedError) -> OmnitronRefusedError:
        """Omnitron refuses the token; for a login's, whose token is new, nothing else can be tried."""
        with self._lock:
            self._refused = self._refused or error
            self._shared.forget()
            return self._refused

    def _renewed(self, refused_token: str | None) -> str:
        """Another process's newer token, or that of a login by us; one process at a time logs in."""
        with self._shared.alone():
            newer = self._shared.get()
            if newer is not None and newer != refused_token:
                return newer
            try:
                self._shared.check_not_refused()
                token = self._log_in()
            except OmnitronRefusedError as error:
                self._refused = error
                self._shared.remember_refusal()
                raise
            self._shared.put(token)
            return token


class _SharedToken:
    """A login's token in Redis; where Redis does not answer, there is none."""

    def __init__(self, configuration: settings.Settings, wait: Callable[[float], bool]) -> None:
        self._configuration = configuration
        self._wait = wait
        self._name = ""
        self._is_silent = False

    def get(self) -> str | None:
        found = self._try(lambda client: client.get(self._key("token")))
        return found.decode() if found else None

    def put(self, token: str) -> None:
        self._try(lambda client: client.set(self._key("token"), token, ex=SHARED_SECONDS))

    def forget(self) -> None:
        if self._configuration.omnitron_token is None:
            self._try(lambda client: client.delete(self._key("token")))

    def remember_refusal(self) -> None:
        self._try(lambda client: client.set(self._key("refused"), "1", ex=REFUSED_SECONDS, nx=True))

    def check_not_refused(self) -> None:
        """Raises `OmnitronRefusedError` while a refusal of this password is fresh."""
        left = self._try(lambda client: client.ttl(self._key("refused"))) or 0
        if left > 0:
            raise OmnitronRefusedError(
                "Omnitron has refused OMNITRON_USERNAME and OMNITRON_PASSWORD; correct them."
                f" With the same ones a login is tried again in {left} s."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Until the block ends, no other process logs in; the wait for another's login has an end."""
        ours = token_hex(8)
        until = time.monotonic() + LOGIN_SECONDS
        while self._is_locked_by_others(ours) and time.monotonic() < until and self._wait(_LOOK_SECONDS):
            pass
        try:
            yield
        finally:
            self._try(lambda client: client.eval(_UNLOCK, 1, self._key("login"), ours))

    def _is_locked_by_others(self, ours: str) -> bool:
        taken = self._try(
            lambda client: client.set(self._key("login"), ours, nx=True, ex=LOGIN_SECONDS) or False
        )
        return taken is False

    def _try(self, ask: Callable[[Any], Any]) -> Any:
        """What Redis answers, or None where it does not; then it is not asked again."""
        if self._is_silent:
            return None
        try:
            return ask(broker.current().client)
        except broker.NotStartedError:
            return None
        except redis.RedisError as error:
            self._is_silent = True
            logger.warning("Redis does not keep the token for Omnitron: %s", why(error))
            return None

    def _key(self, what: str) -> str:
        return f"oms:omnitron:{self._fingerprint()}:{what}"

    def _fingerprint(self) -> str:
        """Another address, user name or password has another token."""
        if not self._name:
            password = self._configuration.omnitron_password
            secret = password.get_secret_value().encode() if password else b""
            salt = f"{self._configuration.omnitron_url} {self._configuration.omnitron_username}".encode()
            self._name = hashlib.pbkdf2_hmac("sha256", secret, salt, _ROUNDS).hex()[:32]
        return self._name
