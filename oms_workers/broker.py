"""The Redis broker, its middleware in the order in which it runs, and the jobs that workers do.

Nothing is made on import. A program begins with `start()`; after it `current()` is the process's broker.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Middleware, Retries, TimeLimit
from periodiq import PeriodiqMiddleware
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import settings
from oms_workers.consumer import Consumer, Threads
from oms_workers.errors import OmsError
from oms_workers.silence import why

logger = logging.getLogger(__name__)

#: How often the consumer of a queue looks for a dead worker's messages. At a thousand of a million commands,
#: Dramatiq's default, such a message waited 813 s. At every command, a set that a dead worker had left behind
#: cost 46 `KEYS` a second.
MAINTENANCE_SECONDS = 5.0

#: A worker that has been silent for so long is forgotten, with what it had taken from queues of the past.
FORGOTTEN_AFTER = timedelta(minutes=10)

#: How long a send waits for Redis to come back. An outage of a minute must not end the clock: platforms
#: take minutes to start again what exits.
OUTAGE_PATIENCE_SECONDS = 90
OUTAGE_PAUSE_SECONDS = 0.5

#: The option of a message that need not be sent: whoever sends it does not wait for Redis.
HINT = "hint"

#: periodiq drops messages older than this. Whether a late message still matters is the ledger's decision.
NEVER_SKIP_SECONDS = 10 * 365 * 24 * 60 * 60

SOCKET_TIMEOUT_SECONDS = 5
POOL_WAIT_SECONDS = 10

#: Set when this process has been told to stop; long work looks at it between two batches.
stopping = threading.Event()


class Client(redis.Redis):
    """A Redis client whose timeouts are connection errors, which is what Dramatiq knows how to survive.

    Dramatiq logs them, so they say why Redis does not answer without a part of its address.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.TimeoutError as error:
            raise redis.ConnectionError(why(error)) from None
        except redis.ConnectionError as error:
            reason = why(error)
            if "certificate" in reason:
                reason += "; REDIS_TLS_VERIFY=false accepts a certificate that nobody has signed"
            raise type(error)(reason) from None


class Broker(RedisBroker):
    """A Redis broker whose senders wait out an outage; consumers have Dramatiq's own patience."""

    client: Client

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        #: What the consumers of this process may take; its worker says how many threads it has.
        self.threads = Threads(1)
        self._maintained = threading.local()

    @property
    def consumer_class(self) -> type[Consumer]:
        return Consumer

    def _should_do_maintenance(self, command: str) -> int:
        """Whether this command of Dramatiq's also looks for messages of dead workers, in its own queue."""
        now = time.monotonic()
        if command != "fetch" or now < getattr(self._maintained, "again_at", 0):
            return 0
        self._maintained.again_at = now + MAINTENANCE_SECONDS
        return 1

    def forget_silent_workers(self, now: datetime) -> int:
        """Put back what long dead workers had taken from queues of the past. Returns how many workers.

        As long as one such set is there, Dramatiq searches all of Redis for it at each look.
        """
        heartbeats = f"{self.namespace}:__heartbeats__"
        limit = int((now - FORGOTTEN_AFTER).timestamp() * 1000)
        silent: Any = self.client.zrangebyscore(heartbeats, 0, limit)
        for worker in silent:
            prefix = f"{self.namespace}:__acks__.{worker.decode()}."
            for acks in self.client.scan_iter(match=f"{prefix}*", count=1_000):
                self._put_back(acks, acks.decode().removeprefix(prefix))
            self.client.zrem(heartbeats, worker)
        return len(silent)

    def _put_back(self, acks: bytes, queue_name: str) -> None:
        queue = f"{self.namespace}:{queue_name}"
        taken: Any = self.client.smembers(acks)
        with self.client.pipeline() as pipeline:
            for key in taken:
                if self.client.hexists(f"{queue}.msgs", key):
                    pipeline.rpush(queue, key)
            pipeline.delete(acks)
            pipeline.execute()

    def enqueue(self, message: dramatiq.Message, *, delay: int | None = None) -> dramatiq.Message:
        deadline = time.monotonic() + OUTAGE_PATIENCE_SECONDS
        waiting = False
        while True:
            try:
                return super().enqueue(message, delay=delay)
            except (redis.ConnectionError, redis.ResponseError) as error:
                is_hint = message.options.get(HINT, False)
                if is_hint or not _passes(error) or time.monotonic() > deadline or stopping.is_set():
                    raise
                if not waiting:
                    logger.warning("Redis takes nothing, and %s waits for it: %s", message.actor_name, error)
                waiting = True
                stopping.wait(OUTAGE_PAUSE_SECONDS)


def _passes(error: redis.RedisError) -> bool:
    """Whether a refusal passes by itself: an outage, a failover, no memory or disk left at the moment."""
    passing = (redis.ConnectionError, redis.OutOfMemoryError, redis.ReadOnlyError)
    return isinstance(error, passing) or str(error).startswith("MISCONF")


class TakeWhatCanBegin(Middleware):
    """A worker takes as many messages as it has threads, whatever the number of its queues."""

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if isinstance(broker, Broker):
            broker.threads = Threads(worker.worker_threads)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        if isinstance(broker, Broker):
            # Its threads begin nothing more.
            broker.threads.count = 0


class StopOnce(Middleware):
    """SIGTERM reaches every process of a dyno, and Dramatiq's master forwards another to each worker, which
    takes the second for "now" and dies with its work half done. Here only the first one counts."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:  # noqa: ARG002
        stop = signal.getsignal(signal.SIGTERM)

        def stop_once(number: int, frame: FrameType | None) -> None:
            if not stopping.is_set() and callable(stop):
                stopping.set()
                stop(number, frame)

        signal.signal(signal.SIGTERM, stop_once)


def make_client(configuration: settings.Settings) -> Client:
    """A client with a bounded pool, timeouts on every socket, and TLS verified unless told otherwise."""
    address = configuration.redis_url
    url = address.get_secret_value() if address else "redis://redis-url-is-not-set.invalid"
    tls = {} if configuration.redis_tls_verify or not url.startswith("rediss:") else {"ssl_cert_reqs": "none"}
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=configuration.redis_max_connections,
        timeout=POOL_WAIT_SECONDS,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=2),
        **tls,
    )
    return Client(connection_pool=pool)


def make_broker(configuration: settings.Settings) -> Broker:
    middleware = [
        StopOnce(),
        TakeWhatCanBegin(),
        # A run that never ends is ended; each actor has its own limit, above its time budget.
        TimeLimit(time_limit=120_000),
        # An actor reads the slot that its message is about.
        CurrentMessage(),
        # The tick owns retries: a delayed message would die with the broker.
        Retries(max_retries=0),
        # Registers the `periodic` option that the clock reads.
        PeriodiqMiddleware(skip_delay=NEVER_SKIP_SECONDS),
    ]
    return Broker(client=make_client(configuration), middleware=middleware)


_current: Broker | None = None


def start(configuration: settings.Settings) -> Broker:
    """Make the broker of this process, Dramatiq's default one too."""
    global _current
    _current = make_broker(configuration)
    dramatiq.set_broker(_current)
    return _current


def current() -> Broker:
    """The broker of this process. Raises `NotStartedError` where no program has begun."""
    if _current is None:
        raise NotStartedError("This process has no broker yet; import `schedules` first.")
    return _current


class NotStartedError(OmsError):
    """A message was to be sent before the program began."""


@dataclass(frozen=True)
class Job:
    """A function that a worker calls when a message for it comes; `options` are Dramatiq's of an actor."""

    name: str
    perform: Callable[..., None]
    options: Mapping[str, Any]

    def declare(self, broker: Broker) -> None:
        """Make it an actor of this broker."""
        dramatiq.actor(actor_name=self.name, broker=broker, max_retries=0, **self.options)(self.perform)

    def send(self, *arguments: Any, **options: Any) -> None:
        """Send a message for it; `options` go with the message."""
        current().get_actor(self.name).send_with_options(args=arguments, **options)


def job(name: str, **options: Any) -> Callable[[Callable[..., None]], Job]:
    """Make a function the job `name`; `schedules.py` declares it."""
    return lambda perform: Job(name, perform, options)
