"""What VACUUM says is understood, whichever version says it."""

import pytest

from oms_workers.base.report import LOCKED, VacuumReport

EIGHTEEN = """finished vacuuming "oms.public.stock": index scans: 1
pages: 0 removed, 45 remain, 45 scanned (100.00% of total), 0 eagerly scanned
tuples: 2000 removed, 31 remain, 7 are dead but not yet removable
removable cutoff: 800, which was 0 XIDs old when operation ended
"""
FOURTEEN = """table "stock": found 2000 removable, 31 nonremovable row versions in 45 out of 45 pages
7 dead row versions cannot be removed yet, oldest xmin: 735
"""
GERMAN = "»stock«: 2000 entfernbare, 31 nicht entfernbare Zeilenversionen in 45 von 45 Seiten gefunden"


@pytest.mark.parametrize(
    ("text", "removed", "left"), [(EIGHTEEN, 2000, 7), (FOURTEEN, 2000, 7), (GERMAN, None, None)]
)
def test_the_counts_are_read(text: str, removed: int | None, left: int | None) -> None:
    report = VacuumReport()
    report.read('vacuuming "oms.public.stock"', is_warning=False)
    report.read(text, is_warning=False)
    # Its long values are vacuumed after it.
    report.read(EIGHTEEN.replace("2000", "99") if removed else "", is_warning=False)

    assert (report.skipped, report.removed, report.left) == (None, removed, left)


@pytest.mark.parametrize(
    ("text", "skipped"),
    [
        ('skipping vacuum of "stock" --- lock not available', LOCKED),
        (
            'permission denied to vacuum "stock", skipping it',
            'PostgreSQL says: permission denied to vacuum "stock", skipping it',
        ),
    ],
)
def test_a_warning_says_why_a_table_was_skipped(text: str, skipped: str) -> None:
    report = VacuumReport()
    report.read(text, is_warning=True)
    report.read("a second one", is_warning=True)

    assert report.skipped == skipped
