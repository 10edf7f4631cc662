"""What VACUUM says of a table: what it removed, what it had to leave, or that it was skipped.

The server's statistics lag behind by seconds, and would call rows dead that are gone. VACUUM itself knows. It
says so in the server's language; where that is not English, the statistics have to do.
"""

import re
from dataclasses import dataclass
from typing import Any

LOCKED = "it is locked by another session"

#: Of PostgreSQL 15 and later, and of 14.
_COUNTS = (
    re.compile(r"(?P<removed>\d+) removed, \d+ remain, (?P<left>\d+) are dead but not yet removable"),
    re.compile(r"found (?P<removed>\d+) removable, .*?(?P<left>\d+) dead row versions cannot be", re.DOTALL),
)


@dataclass
class VacuumReport:
    """What was said so far. `removed` and `left` are dead rows, or None where that was not understood.

    `skipped` is why the table was skipped, or None where it was not.
    """

    skipped: str | None = None
    removed: int | None = None
    left: int | None = None

    def note(self, diagnostic: Any) -> None:
        """A notice of the session. The table's own comes before that of its long values."""
        self.read(
            f"{diagnostic.message_primary or ''}\n{diagnostic.message_detail or ''}",
            is_warning=diagnostic.severity_nonlocalized == "WARNING",
        )

    def read(self, text: str, *, is_warning: bool) -> None:
        if is_warning:
            self.skipped = self.skipped or _why(text.strip())
        elif self.removed is None:
            for counts in _COUNTS:
                if found := counts.search(text):
                    self.removed, self.left = int(found["removed"]), int(found["left"])


def _why(warning: str) -> str:
    return LOCKED if "lock not available" in warning else f"PostgreSQL says: {warning}"
