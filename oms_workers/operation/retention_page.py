"""The page that says how long each table's rows are kept, from what the rooms have registered."""

from collections.abc import Iterable, Sequence
from typing import Any

import settings
from oms_workers.operation.tables import cleaner
from oms_workers.retention import GRACE, Kept, Retention

_INTRODUCTION = """\
# Retention

`make docs` writes this page from what each room registers. Do not edit it.

Every table has a limit, or a reason to need none. A limit has two sides. Rows that are older than so many
days go. So do the oldest of more rows than so many, since a runaway fills a disk with rows that are all
young. Both are variables, and [configuration.md](configuration.md) has what they may be.

The task that owns a table cleans it at the end of each of its runs, within the run's time. It works in
batches. A batch is one statement, and the next one begins where it ended. When the time is spent, the
rest goes on in a new run. A disabled task cleans nothing. The tick takes one batch of 1,000 rows each
minute.

How many rows went is in the run's result, which `oms runs` and `oms status` show.

## Limits
"""

_WARNINGS = f"""\
## What `oms status` says of it

`oms status` shows the size of the large tables, about how many rows they have, and how much both grow a
day. `--json` has every table. Growth is known from the second run of `db-maintenance` on, which measures
the sizes.

It is a finding when a table grows faster than it is cleaned: when rows are there that should have gone
{GRACE.days} days ago. It is another when a table has a tenth more rows than its limit by count. A limit
by count is looked at by PostgreSQL's estimate first. It never takes rows that are left out above.

## What stays

These tables have no limit. What bounds them is said beside them.
"""

_FIRST = """\
## The first cleaning of a large table

Where most of a table is old, deleting it takes hours, and leaves a file that hardly shrinks. Copy what
stays instead. Stop the workers and the clock. Let the limit be 120 days, and the table `audit_events`:

```sql
BEGIN;
LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE;
INSERT INTO archived_audit_events
    SELECT *, now() FROM audit_events WHERE at < now() - interval '120 days';
CREATE TEMPORARY TABLE stays ON COMMIT DROP AS
    SELECT * FROM audit_events WHERE at >= now() - interval '120 days';
TRUNCATE audit_events;
INSERT INTO audit_events SELECT * FROM stays;
COMMIT;
VACUUM (ANALYZE) audit_events;
```

For a table whose old rows are deleted, leave the first `INSERT` out. A table that others refer to by a
foreign key cannot be truncated so; let its task work it off. Vacuum a table by hand after a large deletion,
as in the last line. Until then each search for old rows goes through the dead ones.
"""


def retention_page(limits: Iterable[Retention], kept: Iterable[Kept]) -> str:
    """The text of `docs/retention.md`, with the defaults of the settings."""
    columns = ("table", "which rows", "become", "when older than", "or more than", "by")
    return "\n".join(
        [
            _INTRODUCTION,
            _table(columns, [_of_limit(limit) for limit in limits]),
            _WARNINGS,
            _table(("table", "why it needs no limit"), [(f"`{each.table}`", each.why) for each in kept]),
            _FIRST,
        ]
    )


def _of_limit(limit: Retention) -> Sequence[str]:
    owner = cleaner(limit)
    return (
        f"`{limit.table}`",
        limit.what,
        limit.becomes,
        f"`{limit.days.upper()}` ({_default(limit.days)} days)",
        f"`{limit.most.upper()}` ({_default(limit.most):,} rows)",
        owner if owner == "the tick" else f"`{owner}`",
    )


def _default(name: str) -> Any:
    return settings.Settings.model_fields[name].default


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
