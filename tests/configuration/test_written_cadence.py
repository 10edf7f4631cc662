"""A cadence comes back from the text that it has in the database."""

from zoneinfo import ZoneInfo

import pytest

from oms_workers.configuration.cadence import Cadence, CadenceError, Crontab, Interval
from oms_workers.configuration.written_cadence import read


@pytest.mark.parametrize(
    "cadence",
    [
        Interval(1),
        Interval(604_800),
        Interval(60, offset=30),
        Crontab("0 3 * * *", ZoneInfo("UTC")),
        Crontab("0,30 3-5/2 * * mon-fri", ZoneInfo("America/Argentina/Buenos_Aires")),
    ],
)
def test_what_was_written_is_read(cadence: Cadence) -> None:
    assert read(str(cadence)) == cadence


@pytest.mark.parametrize(
    "text", ["", "sometimes", "every s", "0 3 * * * Nowhere/City", "61 * * * * UTC", "UTC"]
)
def test_what_this_release_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(CadenceError, match="no cadence that this release knows"):
        read(text)
