"""The packages and transfers whose history can be asked for by number."""

from typing import NamedTuple

from oms_workers.audit_events.door import Subject
from oms_workers.audit_events.history import Audited
from oms_workers.packages.states import PACKAGE, TRANSFER
from oms_workers.sets import columns_of, fetch


class _Called(NamedTuple):
    id: int
    number: str


def packages_called(name: str) -> list[Audited]:
    """The package with this number."""
    return _called(PACKAGE, name)


def transfers_called(name: str) -> list[Audited]:
    """The transfer with this number."""
    return _called(TRANSFER, name)


def _called(subject: Subject, name: str) -> list[Audited]:
    number = subject.model._meta.columns["number"]
    query = subject.model.select(*columns_of(subject.model, _Called)).where(number == name)
    return [Audited(subject.name, found.id, found.number) for found in fetch(query, _Called)]
