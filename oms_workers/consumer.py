"""A consumer that takes a message only when a thread is free for it, and only one that a thread can work.

Dramatiq's own fetches ahead for each queue, so that messages wait in a busy process while another one idles.
Here they stay in Redis, where the next free thread of any process takes them and `oms status` sees them.

A message that names a queue or an actor that nobody knows would end the thread that gets it. Such messages
go to the dead letters before that.
"""

import logging
import threading
import time
from collections.abc import Container
from typing import Any

import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import _RedisConsumer
from dramatiq.common import compute_backoff
from dramatiq.errors import ConnectionClosed, DecodeError
from dramatiq.message import Message

logger = logging.getLogger(__name__)

#: The ending of a queue in which messages wait for their time. They need no thread.
DELAYED = ".DQ"


class Threads:
    """The threads of this process, shared by the consumers of its queues, and the messages that have one."""

    def __init__(self, count: int) -> None:
        self.count = count
        #: Held while messages are fetched, so that two queues do not take messages for one thread.
        self.fetching = threading.Lock()
        self._messages: set[str] = set()
        self._changed = threading.Condition()

    def free(self) -> int:
        with self._changed:
            return self.count - len(self._messages)

    def give(self, message: Message) -> None:
        with self._changed:
            self._messages.add(message.message_id)

    def take_back(self, message: MessageProxy) -> None:
        with self._changed:
            self._messages.discard(message.message_id)
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until a thread may be free, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._messages) < self.count, seconds)


def problem_of(message: Message, queue_name: str, actors: Container[str]) -> str | None:
    """Why no thread may get this message of the queue, or None where one may."""
    parts = (message.queue_name, message.actor_name, message.message_id, message.options, message.kwargs)
    if [type(part) for part in parts] != [str, str, str, dict, dict]:
        return "its parts are not what they should be"
    if message.queue_name != queue_name:
        return f"it names the queue {message.queue_name!r}"
    if message.actor_name not in actors:
        return f"nobody knows its actor {message.actor_name!r}"
    if type(message.options.get("redis_message_id")) is not str:
        return "it has no id in Redis"
    if "eta" in message.options and not queue_name.endswith(DELAYED):
        return "it is to wait, and this is a queue of work"
    if "throws" in message.options:
        return "it names exceptions, which only an actor may"
    return None


class Consumer(_RedisConsumer):
    """Dramatiq's consumer of a queue, but for how many messages it takes."""

    def __init__(self, broker: Any, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._threads: Threads = broker.threads
        self._delayed = queue_name.endswith(DELAYED)

    def __next__(self) -> MessageProxy | None:
        try:
            if not self.message_cache:
                self.message_cache = self._fetch()
        except redis.ConnectionError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        if self.message_cache:
            self.misses = 0
            message = self.message_cache.pop(0)
            self.queued_message_ids.add(message.message_id)
            return MessageProxy(message)
        self._pause()
        return None

    def _fetch(self) -> list[Message]:
        if self._delayed:
            return self._take(self.prefetch - self.outstanding_message_count)
        with self._threads.fetching:
            messages = self._take(self._threads.free())
            for message in messages:
                self._threads.give(message)
            return messages

    def _take(self, count: int) -> list[Message]:
        found = self.broker.do_fetch(self.queue_name, count) if count > 0 else []
        return [message for data in found if data is not None and (message := self._read(data)) is not None]

    def _read(self, data: bytes) -> Message | None:
        """The message, or None where it is a bad one, which then is among the dead letters."""
        try:
            message = Message.decode(data)
            problem = problem_of(message, self.queue_name, self.broker.actors)
        except DecodeError:
            problem = "it cannot be read"
        if problem is None:
            return message
        logger.error("A message of %s goes to the dead letters: %s.", self.queue_name, problem)
        self._reject(data)
        return None

    def _reject(self, data: bytes) -> None:
        """Move a message to the dead letters. Its own text may lie about its id, so Redis is asked for it."""
        namespace, client = self.broker.namespace, self.broker.client
        fetched = client.smembers(f"{namespace}:__acks__.{self.broker.broker_id}.{self.queue_name}")
        for key in fetched:
            if client.hget(f"{namespace}:{self.queue_name}.msgs", key) == data:
                self.broker.do_nack(self.queue_name, key)

    def _pause(self) -> None:
        self.misses, milliseconds = compute_backoff(self.misses, max_backoff=self.timeout)
        if self._delayed or self._threads.free() > 0:
            time.sleep(milliseconds / 1000)
        else:
            self._threads.wait(milliseconds / 1000)

    def ack(self, message: MessageProxy) -> None:
        try:
            super().ack(message)  # type: ignore[no-untyped-call]
        finally:
            self._threads.take_back(message)

    def nack(self, message: MessageProxy) -> None:
        try:
            super().nack(message)  # type: ignore[no-untyped-call]
        finally:
            self._threads.take_back(message)
