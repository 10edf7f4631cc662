"""A cadence from the text that it has in the database."""

import re
from zoneinfo import ZoneInfo

from oms_workers.configuration.cadence import Cadence, Crontab, Interval, parse_crontab
from oms_workers.configuration.crontab_fields import CadenceError

_INTERVAL = re.compile(r"every ([0-9]+) s(?: at \+([0-9]+) s)?")


def read(text: str) -> Cadence:
    """The cadence that `str()` wrote so. Raises `CadenceError` where this release knows no such cadence."""
    interval = _INTERVAL.fullmatch(text)
    if interval:
        return Interval(int(interval[1]), offset=int(interval[2] or 0))
    expression, _, zone = text.rpartition(" ")
    try:
        return Crontab(parse_crontab(expression), ZoneInfo(zone))
    except (CadenceError, KeyError, OSError, ValueError) as error:
        raise CadenceError(f"{text!r} is no cadence that this release knows") from error
