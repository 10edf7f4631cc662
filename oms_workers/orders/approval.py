"""Whether Omnitron has approved an order. Only then it is planned, and only its approved lines are."""

from collections.abc import Iterable, Sequence

from oms_workers.orders.models import PLANNED_LINE_STATUSES, OmnitronStatus


def why_not_approved(status: str, line_statuses: Sequence[str]) -> str | None:
    """Why nothing of an order is to be sent now; None where something is."""
    if status != OmnitronStatus.APPROVED:
        return (
            f"its status in Omnitron is {named(status)}, and only {named(OmnitronStatus.APPROVED)} is planned"
        )
    if any(each in PLANNED_LINE_STATUSES for each in line_statuses):
        return None
    found = ", ".join(named(each) for each in dict.fromkeys(line_statuses))
    return f"none of its items is {named(OmnitronStatus.APPROVED)} in Omnitron: they are {found}"


def left_out(lines: Iterable[tuple[str, str]]) -> list[str]:
    """What is said of each line, a sku and its status, that is not planned with its order."""
    return [
        f"{sku} is {named(status)} in Omnitron, and is not planned"
        for sku, status in lines
        if status not in PLANNED_LINE_STATUSES
    ]


def named(status: str) -> str:
    """Omnitron's code with its name, such as `350 (confirmation_waiting)`."""
    try:
        return f"{status} ({OmnitronStatus(status).name.lower()})"
    except ValueError:
        return f"{status!r}"
