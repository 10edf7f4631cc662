"""`oms reconcile`: whether the counters of stock are what they count, and the sum of their movements."""

import sys
from typing import Annotated

import typer

from oms_workers.cli.output import print_json, print_table
from oms_workers.cli.program import begin
from oms_workers.database import connection, database_now
from oms_workers.operation.services import answering
from oms_workers.packages.reconciliation import fix, miscounted, ownerless, uncovered
from oms_workers.reservations.proof import unproven


def reconcile(
    mend: Annotated[bool, typer.Option("--fix", help="Mend what is found, under the rows' locks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Prove what is on hand and reserved from the movements, and what is reserved from the reservations.

    The reservations are compared with what packages and transfers need. A counter that is not the sum of its
    movements is shown with the days on which it was last right and first wrong. --fix sets it to that sum.
    Ends with status 1 where something is wrong and was not mended.

    Example: oms reconcile --fix
    """
    begin()
    with answering("PostgreSQL"), connection():
        found = {
            "counters": [row._asdict() for row in miscounted()],
            "reservations": [row._asdict() for row in ownerless()],
            "items": [row._asdict() for row in uncovered()],
            "movements": [row._asdict() for row in unproven()],
        }
        mended = fix(at=database_now()) if mend and any(found.values()) else {}
    if as_json:
        print_json({**found, "mended": mended})
    else:
        _print(found, mended)
    if any(found.values()) and not mend:
        sys.exit(1)


def _print(found: dict[str, list[dict[str, object]]], mended: dict[str, int]) -> None:
    if not any(found.values()):
        print(
            "Every counter is the sum of its movements and of what it counts,"
            " and every reservation is what its owner needs."
        )
        return
    print_table(
        ("sku", "location", "counter", "counted"),
        [(row["sku"], row["location_id"], row["counter"], row["live"]) for row in found["counters"]],
        title="Counters that are not what they count",
    )
    print_table(
        ("sku", "location", "counter", "is", "movements", "right until", "wrong since"),
        [
            (
                row["sku"],
                row["location_id"],
                row["counter"],
                row["value"],
                row["moved"],
                row["right_until"],
                row["wrong_since"],
            )
            for row in found["movements"]
        ],
        title="\nCounters that are not the sum of their movements",
    )
    print_table(
        ("reservation", "sku", "location", "units", "of"),
        [
            (row["id"], row["sku"], row["location_id"], row["quantity"], row["owner"])
            for row in found["reservations"]
        ],
        title="\nReservations that nothing holds any more",
    )
    print_table(
        ("package or transfer", "sku", "location", "has to hold", "holds"),
        [
            (row["owner"], row["sku"], row["location_id"], row["wanted"], row["held"])
            for row in found["items"]
        ],
        title="\nPackages and transfers that do not hold what they need",
    )
    if mended:
        print(", ".join(f"{count} {what}" for what, count in mended.items()))
    else:
        print("Mend them with `oms reconcile --fix`.")
