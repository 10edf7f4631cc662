"""Instants on the command line."""

from datetime import UTC, datetime

import typer

import settings

#: Years in which every cadence has slots on both sides.
_FIRST_YEAR, _LAST_YEAR = 1971, 2400


def instant(text: str) -> datetime:
    """An ISO 8601 instant, in `TIME_ZONE` where it has no offset. Anything else is a wrong argument."""
    try:
        moment = datetime.fromisoformat(text)
        if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO 8601 instant; try 2026-03-29T00:00:00+01:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=settings.current().zone)).astimezone(UTC)
