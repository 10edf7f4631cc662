"""The codes of locations: one location, however its code is written."""

from collections import defaultdict
from typing import NamedTuple

from oms_workers.normal_form import normal_form
from oms_workers.reservations.models import Location
from oms_workers.sets import fetch


class _Code(NamedTuple):
    code: str
    id: int


class Codes:
    """The locations that are known, found by their codes: `gebze` is `GEBZE`."""

    def __init__(self) -> None:
        self._ids = dict(fetch(Location.select(Location.code, Location.id), _Code))
        self._alike: defaultdict[str, list[str]] = defaultdict(list)
        for code in self._ids:
            self._alike[normal_form(code)].append(code)

    def find(self, code: str) -> list[str]:
        """The codes that may be meant, as they are stored; more than one only where none is written so.

        An earlier release has kept codes apart that differ in nothing but case or blanks.
        """
        return [code] if code in self._ids else [*self._alike.get(normal_form(code), ())]

    def id_of(self, code: str) -> int:
        """The id of a location of which `find` knows exactly one."""
        return self._ids[self.find(code)[0]]

    def said(self, code: str) -> str:
        """What is wrong with a code of which `find` does not know exactly one."""
        found = self.find(code)
        if found:
            return f"may mean {' or '.join(map(repr, sorted(found)))}; write one of them exactly so"
        return "no such location is known; load it first"
