"""A thousand stores: the trace stays small and says enough, and the plan is the same."""

import json
from collections import Counter
from typing import Any

import pytest

from oms_workers.cli import explain
from oms_workers.fulfilment.planning import trace
from oms_workers.fulfilment.planning.planner import plan_orders
from oms_workers.fulfilment.planning.plans import Plan
from tests.fulfilment.samples import a_location, a_scenario, an_order, placed

STORES = [a_location(n, f"STORE-{n}", priority=n, active=n % 10 > 0) for n in range(1, 1_001)]


def counted(plan: Plan, name: str = "locations") -> Counter[str]:
    """How many locations have which verdict, shown or not."""
    (rule,) = plan.context["rules"]
    shown = Counter(entry["verdict"] for entry in rule[name])
    return shown + Counter(rule.get(f"more_{name}", {}))


def plan(stock: dict[str, dict[int, int]], *lines: tuple[str, int], **rule: Any) -> Plan:
    (made,) = plan_orders([an_order(*lines)], [a_scenario({"ranking": ["priority"], **rule})], STORES, stock)
    return made


def test_the_trace_keeps_the_first_few_of_each_verdict_and_counts_the_rest() -> None:
    made = plan({"CHAIR": dict.fromkeys(range(1, 501), 1)}, ("CHAIR", 2))

    assert placed(made) == {1: [("CHAIR", 1)], 2: [("CHAIR", 1)]}
    assert counted(made) == {
        trace.CHOSEN: 2,
        trace.RANKED_BEHIND: 448,
        trace.NO_STOCK: 450,
        "is not active": 100,
    }
    (rule,) = made.context["rules"]
    assert [entry["location"] for entry in rule["locations"][:4]] == [
        "STORE-1",
        "STORE-2",
        "STORE-3",
        "STORE-4",
    ]
    assert len(rule["locations"]) == 2 + 3 * trace.FEW
    assert len(json.dumps(made.context)) < 5_000


def test_what_was_chosen_is_kept_however_far_behind_it_ranks() -> None:
    made = plan({"CHAIR": {**dict.fromkeys(range(1, 900), 1), 999: 50}}, ("CHAIR", 50), mode="single")

    assert placed(made) == {999: [("CHAIR", 50)]}
    assert counted(made)[trace.CHOSEN] == 1
    assert counted(made)[trace.NOT_ALL] == 810


def test_each_location_of_a_large_split_is_kept() -> None:
    made = plan({"CHAIR": dict.fromkeys(range(1, 1_001), 1)}, ("CHAIR", 300), mode="greedy")

    assert counted(made)[trace.CHOSEN] == 300 == len(made.parcels)


def test_the_sources_of_a_transfer_are_kept_and_the_others_counted() -> None:
    stock = {"CHAIR": {1: 1}, "LAMP": dict.fromkeys(range(2, 1_001), 1)}

    made = plan(stock, ("CHAIR", 1), ("LAMP", 2), mode="single", transferable=True)

    assert [transfer.source_id for transfer in made.parcels[0].transfers] == [2, 3]
    assert counted(made, "sources") == {
        trace.DESTINATION: 1,
        trace.SOURCE: 2,
        trace.RANKED_BEHIND: 897,
        "is not active": 100,
    }


def test_where_nothing_can_be_brought_together_the_first_few_sources_are_kept() -> None:
    made = plan(
        {"CHAIR": {1: 1}, "LAMP": dict.fromkeys(range(2, 1_001), 1)},
        ("CHAIR", 1),
        ("LAMP", 2_000),
        mode="single",
        transferable=True,
    )

    assert placed(made) == {}
    assert counted(made, "sources")[trace.NOT_TOGETHER] == 900


def test_of_an_order_with_thousands_of_lines_a_location_shows_the_first_skus() -> None:
    skus = [f"SKU-{n}" for n in range(2_000)]

    made = plan({sku: dict.fromkeys(range(1, 30), 1) for sku in skus}, *((sku, 1) for sku in skus))

    (rule,) = made.context["rules"]
    assert len(rule["locations"][0]["stock"]) == trace.MOST_SKUS
    assert rule["locations"][0]["more_skus"] == 2_000 - trace.MOST_SKUS
    assert len(json.dumps(rule)) < 20_000


def test_explain_says_how_many_more_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    made = plan({"CHAIR": dict.fromkeys(range(1, 501), 1)}, ("CHAIR", 2))

    explain._print_context(made.context)

    said = capsys.readouterr().out
    assert "443 more" in said
    assert "95 more" in said
    assert said.count("\n") < 30


def test_explain_reads_what_an_earlier_release_has_stored(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"location": "GEBZE", "stock": {"CHAIR": 1}, "rank": {}, "verdict": trace.CHOSEN}]
    rule = {"rule": "one", "mode": "single", "ranking": [], "locations": lines}

    explain._print_context({"scenario": "old", "rules": [rule], "unplaced": []})

    assert "GEBZE" in capsys.readouterr().out
