"""What a location lacks, and transfers bring."""

from oms_workers.fulfilment.planning import trace
from tests.fulfilment.planning.three_locations import plan
from tests.fulfilment.samples import a_location, a_scenario, an_order, left, placed, verdicts


def test_what_a_location_lacks_is_brought_there() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 2), ("LAMP", 1)), scenario, {"CHAIR": {1: 2}, "LAMP": {3: 1}})

    (parcel,) = made.parcels
    assert (parcel.location_id, [line.sku for line in parcel.lines]) == (1, ["CHAIR"])
    assert [(transfer.source_id, [line.sku for line in transfer.lines]) for transfer in parcel.transfers] == [
        (3, ["LAMP"])
    ]
    assert made.demand() == {("CHAIR", 1): 2, ("LAMP", 3): 1}
    assert verdicts(made)["KADIKOY"] == trace.SOURCE
    (rule,) = made.context["rules"]
    assert rule["transfers"] == [{"from": "KADIKOY", "lines": {"LAMP": 1}}]
    assert {entry["location"]: entry["verdict"] for entry in rule["sources"]} == {
        "GEBZE": trace.DESTINATION,
        "IZMIR": trace.NO_STOCK,
        "KADIKOY": trace.SOURCE,
    }


def test_a_source_that_may_send_but_not_pack_is_shown_as_what_it_is() -> None:
    scenario = a_scenario(
        {
            "mode": "single",
            "transferable": True,
            "filters": {"locations": ["GEBZE"]},
            "transfer_from": {"except_locations": ["IZMIR"]},
        }
    )
    stock = {"CHAIR": {1: 1}, "LAMP": {2: 1, 3: 1}}

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, stock)

    (rule,) = made.context["rules"]
    assert verdicts(made)["KADIKOY"] == "is not in the rule's list"
    assert {entry["location"]: entry["verdict"] for entry in rule["sources"]} == {
        "GEBZE": trace.DESTINATION,
        "IZMIR": "is in the rule's except-list",
        "KADIKOY": trace.SOURCE,
    }


def test_where_nothing_can_be_brought_together_the_sources_say_so() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True})

    made = plan(an_order(("CHAIR", 2), ("LAMP", 3)), scenario, {"CHAIR": {1: 2}, "LAMP": {3: 1}})

    assert left(made) == [("CHAIR", 2), ("LAMP", 3)]
    (rule,) = made.context["rules"]
    assert {entry["verdict"] for entry in rule["sources"]} == {trace.NOT_TOGETHER, trace.NO_STOCK}


def test_nothing_is_brought_where_one_location_has_it_all() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, {"CHAIR": {1: 1, 3: 1}, "LAMP": {3: 1}})

    assert placed(made) == {3: [("CHAIR", 1), ("LAMP", 1)]}
    assert made.parcels[0].transfers == []


def test_the_trace_of_a_transfer_has_the_units_of_all_lines_of_a_sku() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 2), ("LAMP", 3)), scenario, {"CHAIR": {1: 1}, "LAMP": {3: 5}})

    (rule,) = made.context["rules"]
    assert rule["transfers"] == [{"from": "KADIKOY", "lines": {"LAMP": 5}}]


def test_transfers_come_only_from_where_they_may() -> None:
    rule = {"mode": "single", "transferable": True, "filters": {"locations": ["GEBZE"]}}
    order, stock = an_order(("CHAIR", 1), ("LAMP", 1)), {"CHAIR": {1: 1}, "LAMP": {3: 1}}

    refused = plan(order, a_scenario({**rule, "transfer_from": {"types": ["warehouse"]}}), stock)
    allowed = plan(order, a_scenario({**rule, "transfer_from": {"types": ["store"]}}), stock)

    assert placed(refused) == {}
    # The source need not be one of the rule's own locations.
    assert [transfer.source_id for transfer in allowed.parcels[0].transfers] == [3]


def test_without_everything_nothing_is_brought() -> None:
    scenario = a_scenario({"mode": "single", "transferable": True})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 2)), scenario, {"CHAIR": {1: 1}, "LAMP": {3: 1}})

    assert (placed(made), len(left(made))) == ({}, 2)


def test_a_quota_does_not_keep_a_location_from_sending_a_transfer() -> None:
    places = (a_location(1, "GEBZE"), a_location(2, "IZMIR", quota=0))
    scenario = a_scenario({"mode": "single", "transferable": True})

    made = plan(an_order(("CHAIR", 1), ("LAMP", 1)), scenario, {"CHAIR": {1: 1}, "LAMP": {2: 1}}, places)

    (parcel,) = made.parcels
    assert parcel.location_id == 1
    assert [transfer.source_id for transfer in parcel.transfers] == [2]
