"""How large our tables are, how they grow, and which of them grow faster than they are cleaned."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from oms_workers.base.sizes import growth
from oms_workers.retention import GRACE, Retention, has_more, is_behind, registered_retentions
from oms_workers.scheduling import table
from oms_workers.scheduling.operation import TICK

#: A limit by count is looked at by estimates, which may be a tenth wrong.
TOLERANCE = 1.1


def tables(now: datetime) -> list[dict[str, Any]]:
    """Our tables, the largest first: bytes, rows, and by how much both grow a day, where that is known."""
    return [each._asdict() for each in growth(now)]


def find_growing(lines: Sequence[dict[str, Any]], now: datetime) -> Iterator[str]:
    """A sentence for each table that is not cleaned as fast as it grows; needs a `connection()` around it."""
    known = {line["name"]: line for line in lines}
    for limit in registered_retentions():
        line = known.get(limit.table)
        if line is None:
            continue
        if is_behind(limit, now):
            yield (
                f"{limit.table} grows faster than it is cleaned{_growth(line)}: {limit.what} that are older"
                f" than {limit.days.upper()}={limit.age.days} are there since more than {GRACE.days} days;"
                f" see whether {cleaner(limit)} runs."
            )
        most = int(TOLERANCE * limit.most_rows)
        # The estimate is of the whole table, also of rows that are not meant and stay.
        if line["rows"] > most and (not limit.belongs() or has_more(limit, most)):
            yield (
                f"{limit.table} has about {line['rows']:,} rows, and {limit.most.upper()}={limit.most_rows};"
                f" see what fills it, and whether {cleaner(limit)} runs."
            )


def _growth(line: dict[str, Any]) -> str:
    return "" if line["rows_a_day"] is None else f", by {line['rows_a_day']:,} rows a day"


def cleaner(limit: Retention) -> str:
    """The name of the task that sees to the limit, as operators know it."""
    if limit.task == TICK:
        return "the tick"
    return next((task.name for task in table.tasks() if task.path == limit.task), limit.task)
