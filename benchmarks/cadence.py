"""How long does the longest question to a crontab take, in any time zone?

    python -m benchmarks.cadence [--questions 20000]

Asks `latest` and `next` of random crontabs in every time zone, at random instants of eleven years, and counts
the minutes of a year. The floor beside them is one `astimezone` of the same zones.
"""

import argparse
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from benchmarks import world
from oms_workers.configuration.cadence import Crontab

FIRST = datetime(2021, 1, 1, tzinfo=UTC)
SECONDS = 11 * 365 * 24 * 60 * 60
MINUTES = ("*", "0", "30", "*/5", "20-50/7", "30-30/4")
HOURS = ("*", "0", "2", "3", "*/6", "0-3")
DAYS = ("* * *", "1 * *", "29 2 *", "* * 5", "31 12 *", "29 2 */7")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the slowest question to a crontab.")
    parser.add_argument("--questions", type=int, default=20_000)
    arguments = parser.parse_args()
    print(world.describe_machine())
    chance = random.Random(1)
    zones = [ZoneInfo(name) for name in sorted(available_timezones())]
    taken: dict[str, list[float]] = {"latest": [], "next": [], "astimezone": []}
    for _ in range(arguments.questions):
        zone = chance.choice(zones)
        asked = FIRST + timedelta(seconds=chance.randrange(SECONDS))
        crontab = Crontab(f"{chance.choice(MINUTES)} {chance.choice(HOURS)} {chance.choice(DAYS)}", zone)
        taken["latest"].append(milliseconds(lambda: crontab.latest(asked)))  # noqa: B023
        taken["next"].append(milliseconds(lambda: crontab.next(asked)))  # noqa: B023
        taken["astimezone"].append(milliseconds(lambda: asked.astimezone(zone)))  # noqa: B023
    for name, times in taken.items():
        times.sort()
        print(f"{name}: median {times[len(times) // 2]:.3f} ms, longest {times[-1]:.1f} ms")
    year = Crontab("* * * * *", ZoneInfo("Europe/Paris"))
    count = milliseconds(lambda: year.count(FIRST, FIRST + timedelta(days=365)))
    print(f"a year of minutes counted: {count:.1f} ms")


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
