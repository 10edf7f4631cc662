"""The scheduled operation on the audit trail."""

from datetime import timedelta

from oms_workers.audit_events.archive import ARCHIVE_OLD_AUDIT_EVENTS, archive
from oms_workers.database import connection
from oms_workers.scheduling.actor import scheduled
from oms_workers.scheduling.run import Run


@scheduled(
    ARCHIVE_OLD_AUDIT_EVENTS,
    budget=timedelta(minutes=10),
    variables={"older_than": "audit_events_older_than_days"},
)
def archive_old_audit_events(run: Run, *, older_than: int) -> dict[str, int]:
    """Move the events of the audit trail that are older than so many days to the archive."""
    with connection():
        age = timedelta(days=older_than)
        return {"archived": archive(run.now, older_than=age, should_stop=run.should_stop)}
