"""The live view fits its terminal: nothing that matters is cut off, and nothing stays empty."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from oms_workers.cli.view import Picture, TaskLine, arrange, chosen_tasks, look
from oms_workers.operation.progress import LatestPackage, LocationLoad
from oms_workers.packages.models import PackageState
from schedules import TABLE

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CODES = ("GEBZE-DC", "IZMIR-DC", "KADIKOY", "NISANTASI", "ANKARA", "ANTALYA")
STATES = (PackageState.WAITING_FOR_TRANSFER, PackageState.OUT_OF_STOCK, PackageState.PACKED)


def a_picture(**changes: Any) -> Picture:
    names = ("pulled", "waiting", "planned", "packages", "packed", "out_of_stock", "replanned", "transfers")
    items = "1 × CRUNCHY-ARMCHAIR, 1 × TALL-BLANKET, 2 × QUIET-KETTLE, 1 × CRUNCHY-LAMP"
    whole = Picture(
        now=NOW,
        counts={**{name: 15_000 + number for number, name in enumerate(names)}, "rejected": 1_234},
        packages=[
            LatestPackage(f"P{9000 - n}-1", f"17639999000{n:02}", CODES[n % 5], STATES[n % 3], NOW, items)
            for n in range(60)
        ],
        locations=[LocationLoad(code, 3 * number) for number, code in enumerate(CODES)],
        tasks=[
            TaskLine(task.name, NOW - timedelta(seconds=12), "succeeded", NOW + timedelta(seconds=30))
            for task in TABLE
        ],
        findings=[],
        footer="in another terminal: oms status; 0 restart(s) so far; logs in /home/merchant/oms/.oms/logs",
    )
    return Picture(**{**vars(whole), **changes})


def drawn(picture: Picture, width: int, height: int) -> list[str]:
    console = Console(
        width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(arrange(picture, width=width, height=height))
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("findings", [[], ["Redis does not answer at REDIS_URL: " + "x" * 99] * 5])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (110, 24), (160, 45), (240, 70)])
def test_it_fills_the_terminal_and_cuts_off_no_task_and_no_line(
    width: int, height: int, findings: Sequence[str]
) -> None:
    picture = a_picture(findings=findings)
    lines = drawn(picture, width, height)

    assert len(lines) == height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    shown = [task for task in chosen_tasks(picture.tasks, height) if task.outcome]
    assert len(shown) == len(TABLE) or len(shown) >= (height - 10) // 2 - 1
    for task in shown:
        (line,) = [line for line in lines if task.name in line]
        assert "12 s ago" in line
        assert "succeeded" in line
        assert "in 30 s" in line
    assert lines[-1].startswith("in another terminal: oms status")
    assert all(code in text for code in CODES)
    assert "1234 rejected" in " ".join(text.split())
    assert "waiting_for_transfer" in text


def test_a_wide_terminal_shows_more_packages_and_all_of_their_items() -> None:
    narrow, wide = drawn(a_picture(), 80, 24), drawn(a_picture(), 160, 45)

    assert sum("-1 " in line for line in narrow) >= 8
    assert sum("-1 " in line for line in wide) >= 30
    assert any("1 × CRUNCHY-LAMP" in line for line in wide)
    assert sum(len(line.rstrip()) for line in wide) > 0.55 * 160 * 45


@pytest.mark.parametrize(
    ("packages", "least", "most"), [(0, 0, 0), (1, 1, 8), (10, 20, 50), (20, 50, 99), (400, 50, 99)]
)
def test_a_bar_says_how_much_there_is_to_pack(packages: int, least: int, most: int) -> None:
    lines = drawn(a_picture(locations=[LocationLoad("GEBZE-DC", packages)]), 160, 45)

    (line,) = [line for line in lines if f"GEBZE-DC {packages:>5}".split() == line.split()[-3:-1]] or [
        line for line in lines if "to pack at" in lines[lines.index(line) - 1]
    ]

    assert least <= line.count("█") <= most


def test_it_shows_what_the_database_has_and_what_is_wrong(db: None) -> None:
    picture = look(["something is wrong"], "the end", height=24)

    lines = drawn(picture, 80, 24)

    assert "never ran" in "\n".join(lines)
    assert "! something is wrong" in lines
    assert lines[-1] == "the end"


def test_a_low_terminal_shows_what_failed_and_what_ran_last() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    tasks = [TaskLine(f"task {n}", now - timedelta(hours=n), "succeeded", now) for n in range(18)]
    tasks[17] = tasks[17]._replace(outcome="failed")
    tasks[3] = tasks[3]._replace(last=None, outcome="never ran")

    names = [line.name for line in chosen_tasks(tasks, 24)]

    assert names == [
        "task 0",
        "task 1",
        "task 2",
        "task 4",
        "task 5",
        "task 17",
        "and 12 more: see oms status",
    ]
    assert chosen_tasks(tasks, 60) == tasks
