"""A count of stock, with what it ends: discrepancies, and exclusions of lines that were not there."""

from collections.abc import Sequence
from datetime import datetime

from oms_workers.packages.exclusions import end_by_counts
from oms_workers.reservations.loading import Complete, StockSpec, load_stock


def count_stock(specs: Sequence[StockSpec], *, at: datetime, complete: Sequence[Complete] = ()) -> int:
    """Write counts in the caller's transaction, as `load_stock` does; returns how many there were.

    Lines that were rejected because they were not there may return to where they were counted since.
    Raises `LoadError`.
    """
    end_by_counts(load_stock(specs, at=at, complete=complete), at=at)
    return len(specs)
