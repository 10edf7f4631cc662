"""How many messages wait in each of the broker's queues, and since when."""

import json
from datetime import UTC, datetime
from typing import Any

from oms_workers.broker import current


def depths() -> list[dict[str, Any]]:
    """Per declared queue: its name, how many messages nobody has fetched yet, and the oldest one's time."""
    return [_depth(name) for name in sorted(current().get_declared_queues())]


def _depth(name: str) -> dict[str, Any]:
    key = f"{current().namespace}:{name}"
    depth: Any = current().client.llen(key)
    oldest: Any = current().client.lindex(key, 0) if depth else None
    data: Any = current().client.hget(f"{key}.msgs", oldest) if oldest else None
    sent_at = datetime.fromtimestamp(json.loads(data)["message_timestamp"] / 1000, UTC) if data else None
    return {"name": name, "depth": depth, "oldest": sent_at}
