"""How many messages wait in each of the broker's queues, since when, and for what.

Workers take a message only when a thread is free for it. So what lies in a queue waits for a thread.
"""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple

from oms_workers.broker import current

#: Messages of a queue of which it is said what they are for, from the oldest on.
MOST_NAMED = 1_000


class _Message(NamedTuple):
    """What is shown of a message. One that nobody can read has no name and no time."""

    actor: str | None
    sent_at: datetime | None


def depths() -> list[dict[str, Any]]:
    """Per declared queue: its name, how many messages wait in it, since when, and for which actors."""
    return [_depth(name) for name in sorted(current().get_declared_queues())]


def _depth(name: str) -> dict[str, Any]:
    key = f"{current().namespace}:{name}"
    depth: Any = current().client.llen(key)
    messages = _oldest(key) if depth else []
    return {
        "name": name,
        "depth": depth,
        "oldest": min((message.sent_at for message in messages if message.sent_at), default=None),
        "waiting": _by_actor(messages),
    }


def _oldest(key: str) -> list[_Message]:
    ids: Any = current().client.lrange(key, 0, MOST_NAMED - 1)
    found: Any = current().client.hmget(f"{key}.msgs", ids) if ids else []
    return [_read(data) for data in found if data is not None]


def _read(data: bytes) -> _Message:
    try:
        message = json.loads(data)
        sent_at = datetime.fromtimestamp(message["message_timestamp"] / 1000, UTC)
        return _Message(str(message["actor_name"]), sent_at)
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return _Message(None, None)


def _by_actor(messages: list[_Message]) -> list[dict[str, Any]]:
    """What waits for a thread: each actor, how many messages, and since when; the oldest first."""
    counts = Counter(message.actor for message in messages)
    since = {
        actor: min((each.sent_at for each in messages if each.actor == actor and each.sent_at), default=None)
        for actor in counts
    }
    lines = [{"actor": actor, "count": counts[actor], "oldest": since[actor]} for actor in counts if actor]
    return sorted(lines, key=lambda line: str(line["oldest"]))
