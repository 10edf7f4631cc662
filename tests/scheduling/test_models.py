"""The states of the ledger's rows, in Python and in the database."""

import re
from enum import StrEnum

import pytest

from oms_workers.database import rows
from oms_workers.scheduling.models import RunState, SkipReason, Trigger


@pytest.mark.parametrize(
    ("column", "members"), [("state", RunState), ("reason", SkipReason), ("trigger", Trigger)]
)
def test_the_members_are_the_values_that_the_database_takes(
    db: None, column: str, members: type[StrEnum]
) -> None:
    (check,) = rows(
        "SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE conname = %s",
        (f"scheduled_runs_{column}_check",),
    )

    assert set(re.findall(r"'(\w+)'", check.definition)) == {member.value for member in members}
