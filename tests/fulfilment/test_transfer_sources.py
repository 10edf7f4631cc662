"""A transfer that cannot come: what its package may get instead, and when it is planned anew."""

from datetime import timedelta
from typing import Any

import pytest

import oms_workers.packages.commands  # noqa: F401 - registers the commands
from oms_workers.database import database_now, execute, rows
from oms_workers.fulfilment import transfer_replanning, transfer_sources
from oms_workers.fulfilment.transfer_replanning import replan_transfers
from oms_workers.packages.commands.registry import Request, run_command
from oms_workers.reservations.discrepancies import Meaning
from tests.fulfilment.samples import a_scenario, assert_sound, load_merchant
from tests.fulfilment.steps import PLACES, a_run, packages, plan_all, replan, set_stock, transfers
from tests.orders.samples import an_order, store_orders

NOTHING = Request(meaning=Meaning.NOTHING)
BRINGS = {"mode": "single", "transferable": True, "ranking": ["priority"]}


@pytest.fixture(autouse=True)
def lost_transfer(db: None) -> None:
    """A transfer of two lamps to Gebze, whose source Izmir does not have them."""
    load_merchant(PLACES, {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3}, a_scenario(BRINGS))
    store_orders(an_order(7, skus=("CHAIR", "LAMP", "LAMP")))
    plan_all()
    run_command("T1-1-1", "TRANSFER_OUT_OF_STOCK", NOTHING, actor="tests")


def replan_all_transfers() -> dict[str, int]:
    counts = replan_transfers(a_run())
    assert_sound()
    return counts


def contexts() -> list[dict[str, Any]]:
    return [plan.context for plan in rows("SELECT context FROM order_execution_plans ORDER BY attempt")]


def test_the_destination_counts_when_it_gets_the_items_itself() -> None:
    set_stock("LAMP", "GEBZE", 2)
    set_stock("LAMP", "ANKARA", 2)

    assert replan_all_transfers()["replaced"] == 1

    assert transfers() == [("T1-1-1", "IZMIR", 1000)]
    assert packages() == [("P1-1", "GEBZE", 100)]
    assert rows("SELECT reserved FROM stock WHERE sku = 'LAMP' ORDER BY location_id") == [(2,), (0,), (0,)]
    (traced,) = contexts()[-1]["rules"]
    assert traced["locations"][0]["verdict"] == transfer_sources.HAS_IT_NOW
    run_command("P1-1", "COMPLETE_PACKAGING", actor="tests")
    assert_sound()


def test_a_blocked_package_whose_destination_has_it_goes_on_when_it_is_unblocked() -> None:
    run_command("P1-1", "BLOCK", actor="tests")
    set_stock("LAMP", "GEBZE", 2)

    replan_all_transfers()

    run_command("P1-1", "UNBLOCK", actor="tests")
    assert packages() == [("P1-1", "GEBZE", 100)]


def test_two_locations_send_together_what_neither_has() -> None:
    load_merchant(
        {"ADANA": {"priority": 4, "is_default": False}}, {("LAMP", "ADANA"): 1, ("LAMP", "ANKARA"): 1}
    )

    assert replan_all_transfers()["replaced"] == 1

    assert transfers()[1:] == [("T1-1-2", "ANKARA", 100), ("T1-1-3", "ADANA", 100)]
    for number in ("T1-1-2", "T1-1-3"):
        assert packages() == [("P1-1", "GEBZE", 150)]
        run_command(number, "SHIP_TRANSFER", actor="tests")
        run_command(number, "DELIVER_TRANSFER", actor="tests")
        assert_sound()
    assert packages() == [("P1-1", "GEBZE", 100)]


def test_a_line_is_brought_in_parts_and_each_part_has_its_own_next_source() -> None:
    load_merchant(
        {"ADANA": {"priority": 4, "is_default": False}}, {("LAMP", "ADANA"): 1, ("LAMP", "ANKARA"): 1}
    )
    replan_all_transfers()
    run_command("T1-1-3", "TRANSFER_OUT_OF_STOCK", NOTHING, actor="tests")
    set_stock("LAMP", "GEBZE", 1)

    assert replan_all_transfers()["replaced"] == 1

    assert [state for _, _, state in transfers()] == [1000, 100, 1000]
    assert packages() == [("P1-1", "GEBZE", 150)]


def test_the_destination_gives_what_it_has_and_another_location_the_rest() -> None:
    set_stock("LAMP", "GEBZE", 1)
    set_stock("LAMP", "ANKARA", 1)

    assert replan_all_transfers()["replaced"] == 1

    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    assert rows("SELECT quantity FROM transfer_items WHERE transfer_id = 2") == [(1,)]
    assert packages() == [("P1-1", "GEBZE", 150)]


def test_one_location_with_all_of_it_is_asked_before_several() -> None:
    load_merchant(
        {"ADANA": {"priority": 9, "is_default": False}}, {("LAMP", "ADANA"): 2, ("LAMP", "ANKARA"): 1}
    )

    replan_all_transfers()

    assert transfers()[1:] == [("T1-1-2", "ADANA", 100)]


def test_a_source_that_was_tried_is_asked_again_when_its_exclusion_has_ended() -> None:
    assert replan_all_transfers()["looked_at"] == 0
    week = timedelta(days=7, minutes=1)
    execute("UPDATE excluded_locations SET until = until - %s", (week,))
    execute("UPDATE transfer_orders SET changed_at = changed_at - %s", (week,))

    assert replan_all_transfers()["replaced"] == 1

    assert transfers()[-1] == ("T1-1-2", "IZMIR", 100)


def test_a_package_whose_sources_are_spent_is_planned_anew() -> None:
    set_stock("LAMP", "ANKARA", 2)
    replan_all_transfers()
    run_command("T1-1-2", "TRANSFER_OUT_OF_STOCK", NOTHING, actor="tests")

    assert replan_all_transfers() == {"looked_at": 1, "replaced": 0, "needs_replan": 1}

    assert packages() == [("P1-1", "GEBZE", 910)]
    assert rows("SELECT sku FROM stock WHERE reserved > 0") == []
    load_merchant({"ADANA": {"priority": 4, "is_default": False}}, {("LAMP", "ADANA"): 2})
    assert replan()["replanned"] == 1
    assert packages()[-1] == ("P1-2", "GEBZE", 150)
    assert_sound()


def test_while_a_location_is_left_that_may_get_it_the_package_keeps_what_it_holds() -> None:
    assert replan_all_transfers()["needs_replan"] == 0

    assert packages() == [("P1-1", "GEBZE", 150)]
    assert rows("SELECT sku FROM stock WHERE reserved > 0") == [("CHAIR",)]


def test_nobody_waits_longer_for_a_source_than_an_exclusion_lasts() -> None:
    set_stock("LAMP", "IZMIR", 0)
    execute("UPDATE transfer_orders SET changed_at = %s", (database_now() - timedelta(days=7, minutes=1),))

    assert replan_all_transfers()["needs_replan"] == 1


def test_a_blocked_package_is_not_planned_anew() -> None:
    execute("UPDATE locations SET active = false WHERE code <> 'GEBZE'")
    run_command("P1-1", "BLOCK", actor="tests")

    assert replan_all_transfers()["needs_replan"] == 0
    assert packages() == [("P1-1", "GEBZE", 300)]


def only_from(place: str, **fields: Any) -> Any:
    return a_scenario({**BRINGS, "transfer_from": {"locations": [place]}}, **fields)


@pytest.mark.parametrize("change", ["renamed", "switched off", "its rule renamed", "its rule gone"])
def test_a_location_that_no_rule_allows_is_no_source_whatever_became_of_the_scenario(change: str) -> None:
    set_stock("LAMP", "ANKARA", 2)
    execute(
        "UPDATE scenarios SET active = false" if change != "its rule gone" else "DELETE FROM scenario_rules"
    )
    if change == "renamed":
        load_merchant({}, {}, only_from("IZMIR", name="another name"))
    if change == "its rule renamed":
        load_merchant({}, {}, only_from("IZMIR"))
        execute("UPDATE scenarios SET active = true")
        execute("UPDATE scenario_rules SET name = 'another name'")

    assert replan_all_transfers() == {"looked_at": 1, "replaced": 0, "needs_replan": 1}

    assert packages() == [("P1-1", "GEBZE", 910)]


def test_after_a_scenario_was_renamed_its_rule_says_who_may_send() -> None:
    load_merchant({"ADANA": {"is_default": False}}, {("LAMP", "ADANA"): 2, ("LAMP", "ANKARA"): 2})
    execute("UPDATE scenarios SET active = false")
    load_merchant({}, {}, only_from("ANKARA", name="another name"))

    assert replan_all_transfers()["replaced"] == 1

    assert transfers()[-1] == ("T1-1-2", "ANKARA", 100)
    assert contexts()[-1]["scenario"] == "another name"


def test_scenarios_and_locations_are_read_once_for_many_transfers(monkeypatch: pytest.MonkeyPatch) -> None:
    store_orders(an_order(8, skus=("CHAIR", "LAMP")), an_order(9, skus=("CHAIR", "LAMP")))
    plan_all()
    for number, *_ in transfers()[1:]:
        run_command(number, "TRANSFER_OUT_OF_STOCK", NOTHING, actor="tests")
    set_stock("LAMP", "ANKARA", 9)
    reads: list[int] = []
    for name in ("active_scenarios", "read_planned_locations"):
        real = getattr(transfer_replanning, name)
        monkeypatch.setattr(transfer_replanning, name, lambda real=real: reads.append(1) or real())

    assert replan_all_transfers()["replaced"] == len(transfers()) / 2
    assert len(reads) == 2
