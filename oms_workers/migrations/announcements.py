"""Since when the after scripts wait, by PostgreSQL's clock."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from peewee import SQL

from oms_workers.database import database
from oms_workers.migrations.models import MigrationAnnouncement


def announce(names: Collection[str]) -> None:
    """Say that these scripts wait. One that was announced before has waited since then."""
    if names:
        (
            MigrationAnnouncement.insert_many(
                [(name,) for name in names], fields=[MigrationAnnouncement.name]
            )
            .on_conflict_ignore()
            .execute()
        )


def withdraw_all_but(names: Collection[str]) -> None:
    """Forget the scripts that were applied, and those of a release that was taken back."""
    MigrationAnnouncement.delete().where(MigrationAnnouncement.name.not_in([*names])).execute()


def announced() -> dict[str, datetime]:
    """The scripts that wait, and since when."""
    query = MigrationAnnouncement.select(MigrationAnnouncement.name, MigrationAnnouncement.announced_at)
    return dict(_rows(query))


def announced_for(age: timedelta) -> set[str]:
    """The scripts that have been announced for `age` or longer."""
    query = MigrationAnnouncement.select(MigrationAnnouncement.name).where(
        MigrationAnnouncement.announced_at <= SQL("clock_timestamp() - %s::interval", [age])
    )
    return {name for (name,) in _rows(query)}


def _rows(query: Any) -> list[tuple]:
    """A database whose own script for this table is still missing has announced nothing."""
    if not database.table_exists(MigrationAnnouncement._meta.table_name):
        return []
    return list(query.tuples())
