"""Which scripts are refused: two with one number, and names that say no time."""

import pytest

from oms_workers import migrations
from oms_workers.migrations.scripts import ScriptError
from tests.migrations.stage import Folder, applied_names


def test_two_scripts_with_one_number_are_refused_by_name_before_anything_is_applied(
    released: Folder,
) -> None:
    before = applied_names()
    released.add("9001_before_shelf")
    released.add("9002_before_shelf_place")
    released.add("9002_after_shelf_note")

    with pytest.raises(ScriptError) as error:
        migrations.migrate()

    assert "9002: 9002_after_shelf_note, 9002_before_shelf_place" in str(error.value)
    assert "next free number, 9003" in str(error.value)
    assert applied_names() == before


def test_a_number_that_the_database_has_from_another_branch_is_refused(released: Folder) -> None:
    released.add("9001_before_shelf")
    migrations.migrate()
    released.remove("9001_before_shelf")
    assert migrations.migrate() == []
    released.add("9001_before_orders_note")

    with pytest.raises(ScriptError, match="9001_before_orders_note, 9001_before_shelf"):
        migrations.migrate()


@pytest.mark.parametrize(
    "name",
    [
        "9001_shelf",
        "9001_Before_shelf",
        "901_before_shelf",
        "90001_before_shelf",
        "9001_before",
        "9001_before_",
        "9001-before-shelf",
        "before_shelf",
        "after_9001_shelf",
        # The names that older scripts have are theirs alone.
        "0006_replanning",
    ],
)
def test_a_file_that_is_named_neither_before_nor_after_is_refused(released: Folder, name: str) -> None:
    released.add(name)

    with pytest.raises(ScriptError, match=f"{name}.py .*Rename it"):
        migrations.migrate()
